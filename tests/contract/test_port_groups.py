"""Port groups that are made for VLANs, as Nova's networks ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from pyVmomi import vim

import vmops
from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Vif
from vmops.errors import (
    InvalidArgument,
    InvalidVlanPortGroup,
    InvalidVlanTag,
    NetworkAdapterNotFound,
    NetworkAmbiguous,
    NetworkNotFound,
    SwitchNotFound,
    VMOpsError,
)
from vmops.ops.engine.port_groups import PortGroups
from vmops.vsphere.planning.session import PlanningSession

SWITCH, OTHER_SWITCH = "vSwitch0", "vmops-test-switch"
VLAN = 27
pytestmark = needs(Capability.HOST_NETWORKS)


@pytest.fixture
def name() -> str:
    """The name of a port group that no other test makes."""
    return f"vmops-test-{a_uuid()[:13]}"


@pytest.fixture(autouse=True)
def _no_port_groups(bench: Bench, name: str) -> Iterator[None]:
    """Without the test's port group and switch afterwards."""
    yield
    bench.backend.clean()
    for system in systems(bench):
        with suppress(vim.fault.NotFound):
            system.RemovePortGroup(name)
        with suppress(vim.fault.NotFound):
            system.RemoveVirtualSwitch(OTHER_SWITCH)


def systems(bench: Bench) -> list[Any]:
    """The network systems of the cluster's hosts."""
    hosts = second_view.every(bench.content, vim.HostSystem, "configManager.networkSystem")
    return [found["configManager.networkSystem"] for found in hosts.values()]


def port_groups(bench: Bench, name: str) -> list[tuple[int, str]]:
    """VLAN and switch of the port group of this name on each host that has it."""
    found = []
    for system in systems(bench):
        info = second_view.properties(system, "networkInfo")["networkInfo"]
        found += [
            (group.spec.vlanId, group.spec.vswitchName)
            for group in info.portgroup
            if group.spec.name == name
        ]
    return found


def add(bench: Bench, name: str, vlan: int = VLAN, switch: str = SWITCH) -> None:
    for system in systems(bench):
        if switch != SWITCH:
            system.AddVirtualSwitch(switch)
        system.AddPortGroup(
            vim.host.PortGroup.Specification(
                name=name, vlanId=vlan, vswitchName=switch, policy=vim.host.NetworkPolicy()
            )
        )


def vif(name: str, vlan: int = VLAN) -> dict[str, Any]:
    """An interface of Nova's shape."""
    meta = {"should_create_vlan": True, "vlan": vlan}
    return {"id": "port-1", "network": {"bridge": name, "meta": meta}}


def spawn(bench: Bench, *vifs: Any, ops: Any = None, **options: Any) -> Any:
    options.setdefault("power_on", False)
    return bench.vm(bench.spawn(vifs=vifs, ops=ops, **options))


def cards(vm: Any) -> list[Any]:
    return second_view.devices(vm, vim.vm.device.VirtualEthernetCard)


def test_a_missing_port_group_is_made_on_every_host(bench: Bench, name: str) -> None:
    vm = spawn(bench, vif(name))
    assert port_groups(bench, name) == [(VLAN, SWITCH)] * len(systems(bench))
    (card,) = cards(vm)
    assert card.backing.deviceName == name


def test_a_name_with_characters_that_vsphere_escapes(bench: Bench) -> None:
    """The port group has the name that was given, the network the one that vSphere keeps."""
    name = f"net/1 50% {a_uuid()[:8]}"
    try:
        for _ in range(2):  # made, then found
            (card,) = cards(spawn(bench, vif(name)))
            assert card.backing.deviceName == name
        kept = second_view.properties(card.backing.network, "name")["name"]
        assert kept == name.replace("%", "%25").replace("/", "%2f")
    finally:
        bench.backend.clean()
        for system in systems(bench):
            with suppress(vim.fault.NotFound):
                system.RemovePortGroup(name)


@needs(Capability.DISTRIBUTED_NETWORK)
def test_two_of_one_name_are_told_apart(bench: Bench) -> None:
    groups = second_view.every(
        bench.content, vim.dvs.DistributedVirtualPortgroup, "name", "config.uplink"
    )
    name = next(g["name"] for g in groups.values() if not g.get("config.uplink"))
    add(bench, name)
    try:
        bench.session.inventory.wait_fresh()
        with pytest.raises(NetworkAmbiguous) as told:
            spawn(bench, {"network": {"bridge": name}})
        for kind, backing in (
            ("standard", vim.vm.device.VirtualEthernetCard.NetworkBackingInfo),
            ("distributed", vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo),
        ):
            assert f"'{kind}:{name}'" in str(told.value)
            (card,) = cards(spawn(bench, {"network": {"bridge": f"{kind}:{name}"}}))
            assert type(card.backing) is backing
    finally:
        bench.backend.clean()
        for system in systems(bench):
            with suppress(vim.fault.NotFound):
                system.RemovePortGroup(name)


def test_one_that_is_there_is_used(bench: Bench, name: str) -> None:
    add(bench, name)
    before = port_groups(bench, name)
    (card,) = cards(spawn(bench, vif(name)))
    assert card.backing.deviceName == name
    assert port_groups(bench, name) == before


def test_a_host_that_lacks_it_gets_it(bench: Bench, name: str) -> None:
    add(bench, name)
    systems(bench)[0].RemovePortGroup(name)
    spawn(bench, vif(name))
    assert len(port_groups(bench, name)) == len(systems(bench))


def test_a_network_that_does_not_ask_for_it_must_be_there(bench: Bench, name: str) -> None:
    with pytest.raises(NetworkNotFound):
        spawn(bench, {"network": {"bridge": name, "meta": {"vlan": VLAN}}})
    assert port_groups(bench, name) == []


def test_five_at_once_make_it_once(bench: Bench, name: str) -> None:
    bench.spawn(power_on=False)  # the image is there afterwards
    before = bench.session.counts
    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(spawn, bench, vif(name)) for _ in range(5)]:
            done.result()
    assert port_groups(bench, name) == [(VLAN, SWITCH)] * len(systems(bench))
    calls = bench.session.counts - before
    assert calls["AddPortGroup"] == len(systems(bench))


def test_engines_that_know_nothing_of_each_other_agree(bench: Bench, name: str) -> None:
    bench.spawn(power_on=False)
    engines = [bench.engine() for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(spawn, bench, vif(name), ops=ops) for ops in engines]:
            done.result()
    assert port_groups(bench, name) == [(VLAN, SWITCH)] * len(systems(bench))


def test_one_with_another_vlan_is_refused_and_stays(bench: Bench, name: str) -> None:
    add(bench, name, VLAN + 1)
    before, there = bench.world(), port_groups(bench, name)
    with pytest.raises(InvalidVlanTag) as refused:
        spawn(bench, vif(name))
    assert (refused.value.existing, refused.value.wanted) == (VLAN + 1, VLAN)
    assert name in str(refused.value)
    assert bench.world() == before
    assert port_groups(bench, name) == there
    assert ("spawn", "Create the VM") not in bench.steps()


def test_one_on_another_switch_is_refused_and_stays(bench: Bench, name: str) -> None:
    add(bench, name, switch=OTHER_SWITCH)
    before, there = bench.world(), port_groups(bench, name)
    with pytest.raises(InvalidVlanPortGroup) as refused:
        spawn(bench, vif(name))
    assert (refused.value.existing, refused.value.wanted) == (OTHER_SWITCH, SWITCH)
    assert bench.world() == before
    assert port_groups(bench, name) == there


def test_two_interfaces_cannot_give_one_port_group_two_vlans(bench: Bench, name: str) -> None:
    with pytest.raises(InvalidVlanTag):
        spawn(bench, vif(name, 5), vif(name, 6))
    assert port_groups(bench, name) == []


@pytest.mark.parametrize("vlan", [-1, 4096])
def test_a_vlan_id_that_is_none_is_refused(bench: Bench, name: str, vlan: int) -> None:
    with pytest.raises(InvalidArgument, match="4095"):
        spawn(bench, vif(name, vlan))
    assert port_groups(bench, name) == []


def test_an_interface_that_the_hosts_have_not_is_named(bench: Bench, name: str) -> None:
    with pytest.raises(NetworkAdapterNotFound) as refused:
        spawn(bench, vif(name), ops=bench.engine(vlan_interface="vmnic9"))
    assert "vmnic0" in refused.value.available
    assert port_groups(bench, name) == []


@needs(Capability.CONTROL)
def test_an_interface_without_a_switch_is_named(bench: Bench, name: str) -> None:
    (system, *_) = systems(bench)
    info = second_view.properties(system, "networkInfo")["networkInfo"]
    (uplink,) = [switch for switch in info.vswitch if switch.pnic]
    pnic = list(uplink.pnic)
    uplink.pnic = []
    bench.control.change(system, {"networkInfo": info})
    try:
        with pytest.raises(SwitchNotFound, match="vmnic0"):
            spawn(bench, vif(name))
    finally:
        uplink.pnic = pnic
        bench.control.change(system, {"networkInfo": info})
    assert port_groups(bench, name) == []


@needs(Capability.DISTRIBUTED_NETWORK)
def test_a_distributed_port_group_of_the_name_is_used(bench: Bench, name: str) -> None:
    distributed = bench.backend.distributed_network
    (card,) = cards(spawn(bench, vif(distributed)))
    assert card.backing.port.portgroupKey
    assert port_groups(bench, distributed) == []


@needs(Capability.UNIQUE_NAMES)
def test_what_was_made_goes_with_a_spawn_that_fails(bench: Bench, name: str) -> None:
    first = bench.spawn(power_on=False)
    before = bench.world()
    with pytest.raises(VMOpsError):
        spawn(bench, vif(name), instance=type(first)(uuid=a_uuid(), name=first.name))
    assert ("spawn", "Create the VM") in bench.steps()
    assert port_groups(bench, name) == []
    assert bench.world() == before


@needs(Capability.UNIQUE_NAMES)
def test_what_was_there_stays_when_a_spawn_fails(bench: Bench, name: str) -> None:
    add(bench, name)
    first = bench.spawn(power_on=False)
    with pytest.raises(VMOpsError):
        spawn(bench, vif(name), instance=type(first)(uuid=a_uuid(), name=first.name))
    assert len(port_groups(bench, name)) == len(systems(bench))


@needs(Capability.UNIQUE_NAMES)
def test_what_another_uses_stays_when_a_spawn_fails(bench: Bench, name: str) -> None:
    used = bench.spawn(vifs=[vif(name)], power_on=False)
    with pytest.raises(VMOpsError):
        spawn(bench, vif(name), instance=type(used)(uuid=a_uuid(), name=used.name))
    assert len(port_groups(bench, name)) == len(systems(bench))
    (card,) = cards(bench.vm(used))
    assert card.backing.deviceName == name


def test_a_further_interface_has_its_port_group_made_too(bench: Bench, name: str) -> None:
    instance = bench.spawn(power_on=False)
    bench.ops.attach_interface(None, instance, None, vif(name))
    assert port_groups(bench, name) == [(VLAN, SWITCH)] * len(systems(bench))
    (card,) = cards(bench.vm(instance))
    assert card.backing.deviceName == name
    bench.ops.plug_vifs(instance, [vif(name)])
    assert len(cards(bench.vm(instance))) == 1
    with pytest.raises(InvalidVlanTag):
        bench.ops.plug_vifs(instance, [vif(name, VLAN + 1)])
    bench.ops.unplug_vifs(instance, [vif(name)])
    assert cards(bench.vm(instance)) == []


@needs(Capability.COUNTED_CALLS)
def test_what_was_made_goes_with_an_interface_that_fails(bench: Bench, name: str) -> None:
    instance = bench.spawn(power_on=False)
    bench.control.refuse("ReconfigVM_Task")
    with pytest.raises(VMOpsError):
        bench.ops.attach_interface(None, instance, None, vif(name))
    assert port_groups(bench, name) == []


@pytest.mark.parametrize("last_succeeds", [True, False])
def test_it_goes_when_the_last_of_those_that_count_on_it_has_failed(
    bench: Bench, name: str, last_succeeds: bool
) -> None:
    groups = PortGroups(bench.session, bench.settings)
    cluster = bench.session.inventory.cluster(bench.backend.cluster)
    vifs = [Vif(network=name, vlan=VLAN)]
    first, second = groups.claim(cluster, vifs), groups.claim(cluster, vifs)
    groups.give_up(first)  # which has made it
    assert len(port_groups(bench, name)) == len(systems(bench))
    if last_succeeds:
        groups.keep(second)
    else:
        groups.give_up(second)
    assert len(port_groups(bench, name)) == (len(systems(bench)) if last_succeeds else 0)
    third = groups.claim(cluster, vifs)
    groups.give_up(third)
    assert len(port_groups(bench, name)) == (len(systems(bench)) if last_succeeds else 0)


def test_in_a_plan_it_is_there_once_it_was_added(bench: Bench, name: str) -> None:
    backend, vifs = bench.backend, [Vif(network=name, vlan=VLAN)]
    with vmops.connect(
        backend.url,
        backend.username,
        backend.password,
        thumbprint=backend.thumbprint,
        planning=True,
    ) as session:
        groups = PortGroups(session, bench.settings)
        cluster = session.inventory.cluster(backend.cluster)
        first, second = groups.claim(cluster, vifs), groups.claim(cluster, vifs)
        with pytest.raises(InvalidVlanTag):
            groups.claim(cluster, [Vif(network=name, vlan=VLAN + 1)])
        groups.give_up(first)
        groups.give_up(second)
        groups.give_up(groups.claim(cluster, vifs))
        assert isinstance(session, PlanningSession)
        planned = [call.method for call in session.plan.calls()]
    hosts = len(systems(bench))
    assert planned == [*["AddPortGroup"] * hosts, *["RemovePortGroup"] * hosts] * 2
    assert port_groups(bench, name) == []


@needs(Capability.COUNTED_CALLS)
def test_without_a_vlan_nothing_is_asked(bench: Bench) -> None:
    network = bench.backend.network
    bench.spawn(vifs=[{"network": {"bridge": network}}])
    calls = bench.calls_of(lambda: bench.spawn(vifs=[{"network": {"bridge": network}}]))
    assert not calls["RetrievePropertiesEx"]
    assert not calls["AddPortGroup"]
