"""What listing and asking cost where there are many virtual machines."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pyVmomi import vim

from tests.vsphere.conftest import MakeVm, Place, end_session, eventually
from vmops.lab import Lab, LabSettings
from vmops.lab.inventory.container import Container
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.virtual_machine_create import create_virtual_machine
from vmops.model.extra_config import INSTANCE_UUID
from vmops.model.power import InstanceState
from vmops.ops.instances.info import get_info, list_instances
from vmops.vsphere.live.properties import Properties
from vmops.vsphere.live.stream import STREAM_METHODS

PAGE = 100


@dataclass(frozen=True)
class Crowd:
    """A lab with many instances."""

    place: Place
    uuids: list[str]


def populate(lab: Lab, place: Place, count: int) -> Crowd:
    """Make them inside the lab: by calls it would take a minute."""
    made = [str(uuid.uuid4()) for _ in range(count)]
    with place.connect() as session:
        cluster = session.inventory.cluster()
        folder = session.inventory.datacenter(cluster.datacenter).vm_folder
        datastore = session.inventory.datastores()[0].name

    async def create(kernel: Kernel) -> None:
        above = kernel.registry.find(folder, Container)
        for each in made:
            spec = vim.vm.ConfigSpec(
                name=f"vm-{each}",
                instanceUuid=each,
                numCPUs=1,
                memoryMB=64,
                guestId="otherGuest",
                files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
                extraConfig=[vim.option.OptionValue(key=INSTANCE_UUID, value=each)],
            )
            await create_virtual_machine(
                kernel, above, spec, cluster.resource_pool, None, on_created=lambda _: None
            )

    lab.on_loop(create)
    return Crowd(place, made)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("crowd"), hypervisor="none")
    with Lab.run(settings) as lab:
        place = Place("lab", lab.url, lab.username, lab.password, lab.thumbprint)
        yield populate(lab, place, 1250)


def test_all_are_listed_in_as_many_calls_as_there_are_pages(crowd: Crowd) -> None:
    pages = math.ceil(len(crowd.uuids) / PAGE)
    with crowd.place.connect() as session:
        session.properties = Properties(session.client, page_size=PAGE)
        for times in range(3):
            before = session.counts
            assert list_instances(session) == sorted(crowd.uuids)
            used = session.counts - before
            # The view is made once for a session.
            assert used.pop("CreateContainerView", 0) == (times == 0)
            assert used.total() == pages
            assert used["RetrievePropertiesEx"] == 1


def test_asking_for_each_costs_no_call_and_a_change_shows_with_its_update(crowd: Crowd) -> None:
    with crowd.place.connect() as session, crowd.place.connect() as other:
        session.inventory.wait_fresh()
        before = session.counts
        states = {get_info(session, crowd.uuids[n % 1250]).state for n in range(2000)}
        assert states == {InstanceState.SHUTDOWN}
        (machine,) = other.search_index.virtual_machines(crowd.uuids[1234])
        other.run_task(machine, "PowerOnVM_Task")
        eventually(
            lambda: get_info(session, crowd.uuids[1234]).state is InstanceState.RUNNING, 10.0
        )
        used = session.counts - before
        assert {m: n for m, n in used.items() if m not in STREAM_METHODS} == {}
        assert used.total() < 20
        other.run_task(machine, "PowerOffVM_Task")


def test_those_that_go_during_a_listing_spoil_nothing(place: Place, make_vm: MakeVm) -> None:
    with place.connect() as session, place.connect() as other:
        uuids = [str(uuid.uuid4()) for _ in range(24)]
        marked = [
            make_vm(
                session,
                instanceUuid=each,
                extraConfig=[vim.option.OptionValue(key=INSTANCE_UUID, value=each)],
            )
            for each in uuids
        ]
        stay, go = marked[:12], marked[12:]
        session.properties = Properties(session.client, page_size=3)
        calls = [other.call(vm.moref, "Destroy_Task") for vm, _ in go[:2]]

        def destroy() -> None:
            for vm, _ in go[2:]:
                other.tasks.wait(other.call(vm.moref, "Destroy_Task"))

        thread = threading.Thread(target=destroy)
        thread.start()
        lists = []
        while thread.is_alive():
            lists.append(list_instances(session))
        thread.join()
        for call in calls:
            other.tasks.wait(call)
        wanted = set(uuids[:12])
        assert len(stay) == 12
        assert len(lists) > 1
        assert all(wanted <= set(each) for each in lists)
        assert wanted == set(uuids) & set(list_instances(session))


def test_a_kept_view_that_ended_with_its_session_is_made_anew(crowd: Crowd) -> None:
    with crowd.place.connect() as session, crowd.place.connect() as admin:
        assert len(list_instances(session)) == len(crowd.uuids)
        end_session(session, admin)
        assert len(list_instances(session)) == len(crowd.uuids)
        assert session.client.logins == 2
