"""The same client against a single ESXi."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends import vcsim
from tests.vsphere.conftest import MakeVm, Place
from vmops.errors import NotSupported
from vmops.lab import Lab, LabSettings
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.objects.lookup import find_vm
from vmops.vsphere.session import Session


@pytest.fixture(scope="module", params=["lab", pytest.param("vcsim", marks=pytest.mark.vcsim)])
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if request.param == "lab":
        settings = LabSettings(
            state_dir=tmp_path_factory.mktemp("esx"), hypervisor="none", esx=True
        )
        with Lab.run(settings) as esx:
            yield Place("lab", esx.url, esx.username, esx.password, esx.thumbprint)
        return
    if reason := vcsim.missing():
        pytest.skip(reason)
    with vcsim.Vcsim(esx=True) as esx:
        yield Place("vcsim", esx.url, esx.username, esx.password, esx.thumbprint)


@pytest.fixture
def session(host: Place) -> Iterator[Session]:
    with host.connect() as connected:
        yield connected


def test_is_a_host_with_one_datacenter_and_one_compute_resource(session: Session) -> None:
    assert session.endpoint.api_type == "HostAgent"
    assert not session.is_vcenter
    (datacenter,) = session.inventory.datacenters()
    assert datacenter.inventory_path == "ha-datacenter"
    resource = session.inventory.cluster()
    assert not resource.is_cluster
    assert resource.datacenter == datacenter.moid
    (only,) = session.inventory.hosts()
    assert resource.hosts == (only.moid,)


def test_files_are_written_and_read(session: Session) -> None:
    file = DatastorePath(session.inventory.datastores()[0].name, "esx.txt")
    session.datastore_files.write(file, b"here")
    assert session.datastore_files.read(file) == b"here"
    session.file_manager.delete(file)


def test_machines_are_made_found_and_run(session: Session, make_vm: MakeVm) -> None:
    vm, instance_uuid = make_vm(session)
    assert find_vm(session, instance_uuid).moid == vm.moid
    vm.power_on()
    assert vm.power_state() == "poweredOn"


def test_has_no_storage_policies_and_is_not_asked_for_them(session: Session) -> None:
    before = session.counts
    with pytest.raises(NotSupported, match="ESXi"):
        session.storage_policies.all()
    assert session.counts == before
