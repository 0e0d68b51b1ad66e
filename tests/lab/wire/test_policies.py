"""The storage policy service: which policies there are, what meets them, and what has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import VmomiSupport, pbm, vim, vmodl
from pyVmomi.SoapAdapter import SoapStubAdapter

from tests.lab.client import Client, connect
from tests.lab.specs import disk_spec
from vmops.lab import Lab, LabSettings

Hub = pbm.placement.PlacementHub
device = vim.vm.device
VSAN, SECOND = "vSAN Default Storage Policy", "Second Datastore"


@contextmanager
def policy_service(client: Client, *, by_header: bool = True) -> Iterator[Any]:
    """Its content, as pyVmomi's own stub sees it."""
    main = client.stub
    host, _, port = main.host.rpartition(":")
    stub = SoapStubAdapter(
        host=host,
        port=int(port),
        path="/pbm",
        version="pbm.version.version14",
        sslContext=main.schemeArgs["context"],
    )
    context = VmomiSupport.GetRequestContext()
    if by_header:
        context["vcSessionCookie"] = main.cookie.partition(";")[0].partition("=")[2].strip('"')
    else:
        stub.cookie = main.cookie
    try:
        yield pbm.ServiceInstance("ServiceInstance", stub)
    finally:
        context.pop("vcSessionCookie", None)
        stub.DropConnections()


def profiles(content: Any) -> dict[str, Any]:
    kind = pbm.profile.ResourceType(resourceType="STORAGE")
    ids = content.profileManager.QueryProfile(resourceType=kind, profileCategory="REQUIREMENT")
    return {each.name: each.profileId for each in content.profileManager.RetrieveContent(ids)}


def hubs(client: Client) -> dict[str, Any]:
    return {
        name: Hub(hubType="Datastore", hubId=store._moId)
        for name, store in client.datastores.items()
    }


@pytest.mark.parametrize("by_header", [True, False])
def test_a_client_finds_policies_and_what_meets_them(client: Client, by_header: bool) -> None:
    with policy_service(client, by_header=by_header) as service:
        content = service.RetrieveContent()
        assert content.aboutInfo.instanceUuid == client.content.about.instanceUuid
        found = profiles(content)
        assert {VSAN, SECOND, "VM Encryption Policy"} == set(found)
        solver, there = content.placementSolver, hubs(client)

        matching = solver.QueryMatchingHub(list(there.values()), found[SECOND])
        assert [hub.hubId for hub in matching] == [there["datastore2"].hubId]
        assert len(solver.QueryMatchingHub(None, found[VSAN])) == 2
        results = solver.CheckRequirements(
            hubsToSearch=list(there.values()),
            placementSubjectRequirement=[
                pbm.placement.CapabilityProfileRequirement(profileId=found[SECOND])
            ],
        )
        against = {each.hub.hubId: [type(error) for error in each.error] for each in results}
        assert against == {
            there["datastore1"].hubId: [pbm.fault.CompatibilityCheckFault],
            there["datastore2"].hubId: [],
        }
        [alone] = solver.CheckCompatibility([there["datastore2"]], found[SECOND])
        assert list(alone.error) == []


def test_what_there_is_not_is_refused(client: Client) -> None:
    with policy_service(client) as service:
        content = service.RetrieveContent()
        unknown = pbm.profile.ProfileId(uniqueId="none")
        refused: list[Callable[[], object]] = [
            lambda: content.profileManager.RetrieveContent([unknown]),
            lambda: content.placementSolver.QueryMatchingHub(None, unknown),
            lambda: content.placementSolver.CheckCompatibility(
                [Hub(hubType="Datastore", hubId="datastore-none")], profiles(content)[VSAN]
            ),
        ]
        for ask in refused:
            with pytest.raises(vmodl.fault.InvalidArgument):
                ask()
        with pytest.raises(vmodl.fault.NotSupported):
            content.profileManager.FetchVendorInfo()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            entity = pbm.ServerObjectRef(objectType="virtualMachine", key="vm-1")
            content.complianceManager.FetchComplianceResult([entity])


def test_nobody_gets_in_without_a_session(client: Client) -> None:
    with policy_service(client, by_header=False) as service:
        service._stub.cookie = ""
        with pytest.raises(vim.fault.NotAuthenticated):
            service.RetrieveContent()
        VmomiSupport.GetRequestContext()["vcSessionCookie"] = "wrong"
        with pytest.raises(vim.fault.NotAuthenticated):
            service.RetrieveContent()


def given(profile: Any) -> list[vim.vm.DefinedProfileSpec]:
    return [vim.vm.DefinedProfileSpec(profileId=profile.uniqueId)]


def associated(manager: Any, vm: Any, disk: Any = None) -> list[str]:
    key = vm._moId if disk is None else f"{vm._moId}:{disk.key}"
    kind = "virtualMachine" if disk is None else "virtualDiskId"
    found = manager.QueryAssociatedProfile(pbm.ServerObjectRef(objectType=kind, key=key))
    return [each.uniqueId for each in found]


def disks(vm: Any) -> list[Any]:
    return [each for each in vm.config.hardware.device if isinstance(each, device.VirtualDisk)]


def test_machines_and_disks_have_what_they_were_given(tmp_path: Path) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        client = connect(lab)
        folder, pool = client.folder, client.pool
        with policy_service(client) as service:
            manager = service.RetrieveContent().profileManager
            found = profiles(service.RetrieveContent())
            spec = disk_spec("m", 2)
            spec.vmProfile = given(found[VSAN])
            spec.deviceChange[1].profile = given(found[SECOND])
            vm = client.result(folder.CreateVM_Task(spec, pool))
            [disk] = disks(vm)
            assert associated(manager, vm) == [found[VSAN].uniqueId]
            assert associated(manager, vm, disk) == [found[SECOND].uniqueId]

            change = device.VirtualDeviceSpec(operation="edit", device=disk)
            change.profile = [*given(found[VSAN])]
            spec = vim.vm.ConfigSpec(deviceChange=[change], vmProfile=[vim.vm.EmptyProfileSpec()])
            client.result(vm.ReconfigVM_Task(spec))
            assert associated(manager, vm) == []
            assert associated(manager, vm, disk) == [found[VSAN].uniqueId]
            moid, key = vm._moId, disk.key
        client.stub.DropConnections()
    with Lab.run(settings) as lab:
        client = connect(lab)
        with policy_service(client) as service:
            manager = service.RetrieveContent().profileManager
            [vm] = client.folder.childEntity
            assert (vm._moId, disks(vm)[0].key) == (moid, key)
            assert associated(manager, vm, disks(vm)[0]) == [found[VSAN].uniqueId]
            remove = device.VirtualDeviceSpec(
                operation="remove", fileOperation="destroy", device=disks(vm)[0]
            )
            client.result(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[remove])))
            reference = pbm.ServerObjectRef(objectType="virtualDiskId", key=f"{moid}:{key}")
            assert list(manager.QueryAssociatedProfile(reference)) == []
        client.stub.DropConnections()


def test_an_unknown_policy_is_refused_and_nothing_is_made(client: Client, name: str) -> None:
    folder, pool = client.folder, client.pool
    unknown = [vim.vm.DefinedProfileSpec(profileId="none")]
    of_machine, of_disk = (disk_spec(name, 2) for _ in range(2))
    of_machine.vmProfile = unknown
    of_disk.deviceChange[1].profile = unknown
    for spec in (of_machine, of_disk):
        with pytest.raises(vmodl.fault.InvalidArgument) as caught:
            client.result(folder.CreateVM_Task(spec, pool))
        assert str(caught.value.invalidProperty).endswith("rofile.profileId")
    assert not (client.root() / name).exists()


def test_a_single_host_has_no_such_service(tmp_path: Path) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none", esx=True)
    with Lab.run(settings) as lab:
        client = connect(lab)
        assert client.request("POST", "/pbm", b"")[0] == 404
        client.stub.DropConnections()
