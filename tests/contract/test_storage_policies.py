"""Storage policies: which datastores comply, and what gets the policy."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import VmomiSupport, pbm, vim
from pyVmomi.SoapAdapter import SoapStubAdapter

from tests.backends.capabilities import Capability
from tests.builders import MEMORY_MIB, a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import NotSupported, StoragePolicyNotFound

POLICY = "vSAN Default Storage Policy"  # every vCenter has it, and vcsim


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


def policy_id(bench: Bench, name: str) -> str:
    """By a stub of pyVmomi's own."""
    main = bench.content.sessionManager._stub
    stub = SoapStubAdapter(
        host=main.host.rpartition(":")[0],
        port=int(main.host.rpartition(":")[2]),
        path="/pbm",
        version="pbm.version.version11",
        sslContext=main.schemeArgs["context"],
    )
    stub.cookie = main.cookie
    try:
        session = main.cookie.partition(";")[0].partition("=")[2].strip('"')
        VmomiSupport.GetRequestContext()["vcSessionCookie"] = session
        content = pbm.ServiceInstance("ServiceInstance", stub).RetrieveContent()
        manager = content.profileManager
        kind = pbm.profile.ResourceType(resourceType="STORAGE")
        ids = manager.QueryProfile(resourceType=kind, profileCategory="REQUIREMENT")
        found = {each.name: each.profileId.uniqueId for each in manager.RetrieveContent(ids)}
        return str(found[name])
    finally:
        VmomiSupport.GetRequestContext().pop("vcSessionCookie", None)
        stub.DropConnections()


def flavored(policy: str) -> dict[str, Any]:
    flavor = {
        "vcpus": 1,
        "memory_mb": MEMORY_MIB,
        "ephemeral_gb": 1,
        "extra_specs": {"vmware:storage_policy": policy},
    }
    return {"uuid": a_uuid(), "name": "vmops-test-policy", "flavor": flavor}


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
