"""Storage policies: which datastores comply, and what gets the policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyVmomi import VmomiSupport, pbm, vim
from pyVmomi.SoapAdapter import SoapStubAdapter

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import MEMORY_MIB, a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import NoSuitableDatastore, NotSupported, StoragePolicyNotFound

POLICY = "vSAN Default Storage Policy"  # every vCenter has it, and vcsim
ONE_DATASTORES = "Second Datastore"  # the lab's, which datastore2 alone complies with
GIB = 1024**3


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> list[Any]:
    """The ConfigSpecs that went out: no server shows the policies of a machine's files in it."""
    specs: list[Any] = []
    client = bench.session.client
    pass_on = client.call_within

    def listen(moref: Any, method: str, timeout_s: float | None, /, **arguments: Any) -> Any:
        specs.extend(a for a in arguments.values() if isinstance(a, vim.vm.ConfigSpec))
        return pass_on(moref, method, timeout_s, **arguments)

    monkeypatch.setattr(client, "call_within", listen)
    return specs


@contextmanager
def policies(bench: Bench) -> Iterator[Any]:
    """The service's ProfileManager over a stub of pyVmomi's own: the second view."""
    main = bench.content.sessionManager._stub
    host, _, port = main.host.rpartition(":")
    stub = SoapStubAdapter(
        host=host,
        port=int(port),
        path="/pbm",
        version="pbm.version.version11",
        sslContext=main.schemeArgs["context"],
    )
    stub.cookie = main.cookie
    context = VmomiSupport.GetRequestContext()
    context["vcSessionCookie"] = main.cookie.partition(";")[0].partition("=")[2].strip('"')
    try:
        yield pbm.ServiceInstance("ServiceInstance", stub).RetrieveContent().profileManager
    finally:
        context.pop("vcSessionCookie", None)
        stub.DropConnections()


def policy_id(bench: Bench, name: str) -> str:
    kind = pbm.profile.ResourceType(resourceType="STORAGE")
    with policies(bench) as manager:
        ids = manager.QueryProfile(resourceType=kind, profileCategory="REQUIREMENT")
        found = {each.name: each.profileId.uniqueId for each in manager.RetrieveContent(ids)}
    return str(found[name])


def policies_of(bench: Bench, vm: Any) -> list[list[str]]:
    """Those that the server knows of the VM's own files, and of each of its disks."""
    disks = second_view.devices(vm, vim.vm.device.VirtualDisk)
    entities = [pbm.ServerObjectRef(objectType="virtualMachine", key=vm._GetMoId())] + [
        pbm.ServerObjectRef(objectType="virtualDiskId", key=f"{vm._GetMoId()}:{disk.key}")
        for disk in disks
    ]
    with policies(bench) as manager:
        found = [manager.QueryAssociatedProfile(entity) for entity in entities]
    return [[each.uniqueId for each in one] for one in found]


def flavored(policy: str) -> dict[str, Any]:
    flavor = {
        "vcpus": 1,
        "memory_mb": MEMORY_MIB,
        "ephemeral_gb": 1,
        "extra_specs": {"vmware:storage_policy": policy},
    }
    uuid = a_uuid()
    return {"uuid": uuid, "name": f"vmops-test-{uuid[:13]}", "flavor": flavor}


@needs(Capability.STORAGE_POLICIES)
def test_machine_and_disks_get_the_flavors_policy(bench: Bench, sent: list[Any]) -> None:
    instance = flavored(POLICY)
    bench.ops.spawn(None, instance, "flat", None, power_on=False)
    assert bench.vm(str(instance["uuid"])) is not None
    wanted = policy_id(bench, POLICY)
    created, attached = sent
    assert [profile.profileId for profile in created.vmProfile] == [wanted]
    disks = [
        change
        for change in attached.deviceChange
        if isinstance(change.device, vim.vm.device.VirtualDisk)
    ]
    assert len(disks) == 2
    for change in disks:
        assert [profile.profileId for profile in change.profile] == [wanted]


@needs(Capability.STORAGE_POLICIES, Capability.ASSOCIATED_POLICIES)
def test_the_server_knows_the_policy_of_machine_and_disks(bench: Bench) -> None:
    instance = flavored(POLICY)
    bench.ops.spawn(None, instance, "flat", None, power_on=False)
    wanted = policy_id(bench, POLICY)
    assert policies_of(bench, bench.vm(str(instance["uuid"]))) == [[wanted]] * 3
    other = bench.vm(bench.spawn(power_on=False))
    assert policies_of(bench, other) == [[], []]


@needs(Capability.STORAGE_POLICIES, Capability.CONTROL)
def test_the_policy_chooses_the_datastore(bench: Bench) -> None:
    bench.control.change_datastore("datastore1", freeSpace=100 * GIB)
    bench.control.change_datastore("datastore2", freeSpace=2 * GIB)
    with bench.backend.connect() as session:
        ops = bench.engine(session=session, datastore=None)
        for policy, datastore in ((POLICY, "datastore1"), (ONE_DATASTORES, "datastore2")):
            instance = flavored(policy)
            ops.spawn(None, instance, "flat", None, power_on=False)
            path = second_view.properties(
                bench.vm(str(instance["uuid"])), "config.files.vmPathName"
            )["config.files.vmPathName"]
            assert path.startswith(f"[{datastore}]")


@needs(Capability.STORAGE_POLICIES, Capability.CONTROL)
def test_a_datastore_that_does_not_comply_is_told_with_the_policy(bench: Bench) -> None:
    before = bench.world()
    with pytest.raises(NoSuitableDatastore) as refused:
        bench.ops.spawn(None, flavored(ONE_DATASTORES), "flat", None)
    assert ONE_DATASTORES in dict(refused.value.rejected)["datastore1"]
    assert bench.world() == before


@needs(Capability.STORAGE_POLICIES)
def test_the_settings_policy_is_that_of_flavors_without_one(bench: Bench, sent: list[Any]) -> None:
    ops = bench.engine(storage_policy=POLICY)
    bench.spawn(ops=ops, power_on=False)
    ops.spawn(None, flavored("VM Encryption Policy"), "flat", None, power_on=False)
    ids = [spec.vmProfile[0].profileId for spec in sent if spec.vmProfile]
    assert ids == [policy_id(bench, POLICY), policy_id(bench, "VM Encryption Policy")]


@needs(Capability.STORAGE_POLICIES)
def test_an_unknown_policy_is_named_with_those_there_are(bench: Bench) -> None:
    before = bench.world()
    with pytest.raises(StoragePolicyNotFound) as refused:
        bench.ops.spawn(None, flavored("Gold"), "flat", None)
    assert refused.value.name == "Gold"
    assert POLICY in refused.value.available
    assert bench.world() == before
    assert ("spawn", "Create the VM") not in bench.steps()


def test_an_endpoint_without_policies_says_so(bench: Bench) -> None:
    if Capability.STORAGE_POLICIES not in bench.backend.lacks:
        pytest.skip("it has policies")
    before = bench.world()
    with pytest.raises(NotSupported, match="storage polic"):
        bench.ops.spawn(None, flavored(POLICY), "flat", None)
    assert bench.world() == before


def test_without_a_policy_none_is_asked_for(bench: Bench, sent: list[Any]) -> None:
    before = bench.session.counts
    bench.spawn(instance=an_instance(), power_on=False)
    assert not any(name.startswith("Pbm") for name in bench.session.counts - before)
    assert all(not spec.vmProfile for spec in sent)


@needs(Capability.STORAGE_POLICIES, Capability.COUNTED_CALLS)
def test_a_policy_costs_three_calls(bench: Bench) -> None:
    for policy in (None, POLICY):  # image and service are known afterwards
        bench.spawn(ops=bench.engine(storage_policy=policy or ""), power_on=False)
    plain = bench.calls_of(lambda: bench.spawn(power_on=False))
    ops = bench.engine(storage_policy=POLICY)
    asked = bench.calls_of(lambda: bench.spawn(ops=ops, power_on=False))
    assert asked - plain == Counter(
        {"PbmQueryProfile": 1, "PbmRetrieveContent": 1, "PbmCheckRequirements": 1}
    )
