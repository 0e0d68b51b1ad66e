"""Interfaces that come and go: the NICs match them, in one change, and twice is as once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import OF_WAITING, Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, SUSPENDED
from vmops import Instance, Vif
from vmops.errors import (
    AlreadyExists,
    InstanceNotFound,
    InvalidPowerState,
    InvalidState,
    NetworkNotFound,
    NotFound,
)
from vmops.model.image import VifModel

MACS = [f"00:50:56:3d:00:0{number}" for number in range(1, 6)]


def a_vif(bench: Bench, number: int, **more: Any) -> Vif:
    given = {"network": bench.backend.network, "mac_address": MACS[number], "id": f"port-{number}"}
    return Vif(**{**given, **more})


def nics(bench: Bench, instance: Instance) -> list[Any]:
    return second_view.devices(bench.vm(instance), vim.vm.device.VirtualEthernetCard)


def macs(bench: Bench, instance: Instance) -> list[str]:
    return sorted(nic.macAddress for nic in nics(bench, instance))


def noted(bench: Bench, instance: Instance) -> dict[str, str]:
    """The interfaces' ids as the VM's configuration has them."""
    options = second_view.extra_config(bench.vm(instance))
    return {k: v for k, v in options.items() if k.startswith("nvp.iface-id.") and v}


def version(bench: Bench, instance: Instance) -> str:
    return str(bench.vm(instance).config.changeVersion)


def spawned(bench: Bench, state: str, *vifs: Vif) -> Instance:
    instance = bench.spawn(vifs=vifs, power_on=state != OFF)
    if state == SUSPENDED:
        second_view.finished(bench.vm(instance).SuspendVM_Task())
    return instance


@pytest.mark.parametrize("state", [OFF, ON])
def test_what_is_missing_is_plugged(bench: Bench, state: str) -> None:
    vifs = [a_vif(bench, number) for number in range(3)]
    instance = spawned(bench, state, vifs[0])
    bench.ops.plug_vifs(instance, vifs)
    assert macs(bench, instance) == MACS[:3]
    assert sorted(noted(bench, instance).values()) == ["port-0", "port-1", "port-2"]
    assert bench.power(instance) == state


@pytest.mark.parametrize("state", [OFF, ON])
def test_plugging_twice_changes_nothing(bench: Bench, state: str) -> None:
    vifs = [a_vif(bench, number) for number in range(2)]
    instance = spawned(bench, state)
    bench.ops.plug_vifs(instance, vifs)
    before = [(n.key, n.macAddress) for n in nics(bench, instance)], version(bench, instance)
    bench.ops.plug_vifs(instance, vifs)
    bench.ops.plug_vifs(instance, [{"address": v.mac_address, "network": v.network} for v in vifs])
    after = [(n.key, n.macAddress) for n in nics(bench, instance)], version(bench, instance)
    assert after == before


def test_an_interface_that_only_names_its_network_is_plugged_once(bench: Bench) -> None:
    instance = spawned(bench, OFF)
    anonymous = Vif(network=bench.backend.network)
    bench.ops.plug_vifs(instance, [anonymous, anonymous])
    bench.ops.plug_vifs(instance, [anonymous, anonymous])
    assert len(set(macs(bench, instance))) == 2


@needs(Capability.NUMBERED_NICS)
def test_an_interface_is_found_by_its_id(bench: Bench) -> None:
    instance = spawned(bench, OFF, a_vif(bench, 0), a_vif(bench, 1))
    bench.ops.plug_vifs(instance, [a_vif(bench, 1, mac_address="")])
    assert macs(bench, instance) == MACS[:2]
    bench.ops.unplug_vifs(instance, [a_vif(bench, 1, mac_address="")])
    assert macs(bench, instance) == MACS[:1]
    assert list(noted(bench, instance).values()) == ["port-0"]


@needs(Capability.DISTRIBUTED_NETWORK)
@pytest.mark.parametrize("state", [OFF, ON])
def test_a_nic_on_another_network_is_moved_there_and_back(bench: Bench, state: str) -> None:
    instance = spawned(bench, state, a_vif(bench, 0))
    (before,) = nics(bench, instance)
    name = bench.backend.distributed_network
    group = second_view.named(bench.content, vim.dvs.DistributedVirtualPortgroup, name)
    bench.ops.plug_vifs(instance, [a_vif(bench, 0, network=name)])
    (moved,) = nics(bench, instance)
    key = second_view.properties(group, "key")["key"]
    assert (moved.key, moved.macAddress) == (before.key, MACS[0])
    assert moved.backing.port.portgroupKey == key
    bench.ops.plug_vifs(instance, [a_vif(bench, 0)])
    (back,) = nics(bench, instance)
    assert back.backing.deviceName == bench.backend.network


@pytest.mark.parametrize("state", [OFF, ON])
def test_a_nic_that_was_disconnected_is_connected(bench: Bench, state: str) -> None:
    instance = spawned(bench, state, a_vif(bench, 0))
    (nic,) = nics(bench, instance)
    nic.connectable.startConnected = nic.connectable.connected = False
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=nic)
    second_view.finished(
        bench.vm(instance).ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change]))
    )
    bench.ops.plug_vifs(instance, [a_vif(bench, 0)])
    (nic,) = nics(bench, instance)
    assert nic.connectable.startConnected
    assert nic.connectable.connected or state == OFF


@needs(Capability.HOT_UNPLUG)
@pytest.mark.parametrize("state", [OFF, ON])
def test_what_is_unplugged_is_gone_and_the_rest_stays(bench: Bench, state: str) -> None:
    vifs = [a_vif(bench, number) for number in range(3)]
    instance = spawned(bench, state, *vifs)
    bench.ops.unplug_vifs(instance, [vifs[1]])
    assert macs(bench, instance) == [MACS[0], MACS[2]]
    assert sorted(noted(bench, instance).values()) == ["port-0", "port-2"]
    bench.ops.plug_vifs(instance, [a_vif(bench, 3)])
    assert macs(bench, instance) == [MACS[0], MACS[2], MACS[3]]
    assert sorted(noted(bench, instance).values()) == ["port-0", "port-2", "port-3"]


def test_what_is_not_there_is_unplugged_already(bench: Bench) -> None:
    instance = spawned(bench, OFF, a_vif(bench, 0))
    before = version(bench, instance)
    bench.ops.unplug_vifs(instance, [a_vif(bench, 1)])
    bench.ops.unplug_vifs(instance, [Vif(network=bench.backend.network)])
    bench.ops.unplug_vifs(instance, None)
    assert (macs(bench, instance), version(bench, instance)) == (MACS[:1], before)


@needs(Capability.HOT_UNPLUG)
@pytest.mark.parametrize("state", [OFF, ON])
def test_one_interface_is_attached_and_detached(bench: Bench, state: str) -> None:
    instance = spawned(bench, state, a_vif(bench, 0))
    bench.ops.attach_interface(None, instance, None, a_vif(bench, 1))
    assert macs(bench, instance) == MACS[:2]
    with pytest.raises(AlreadyExists, match=MACS[1]):
        bench.ops.attach_interface(None, instance, None, a_vif(bench, 1))
    bench.ops.detach_interface(None, instance, a_vif(bench, 1))
    assert macs(bench, instance) == MACS[:1]
    with pytest.raises(NotFound, match=rf"{MACS[1]}.*{MACS[0]}"):
        bench.ops.detach_interface(None, instance, a_vif(bench, 1))


def test_a_further_interface_without_an_address_is_a_further_nic(bench: Bench) -> None:
    instance = spawned(bench, OFF)
    for count in (1, 2):
        bench.ops.attach_interface(None, instance, None, {"network": bench.backend.network})
        assert len(set(macs(bench, instance))) == count


def test_a_new_nic_is_of_the_model_the_guest_has_or_the_image_or_the_interface(
    bench: Bench,
) -> None:
    instance = spawned(bench, OFF, a_vif(bench, 0, model=VifModel.E1000))
    bench.ops.plug_vifs(instance, [a_vif(bench, 1)])
    image = bench.images.named("flat", hw_vif_model="e1000e")
    bench.ops.attach_interface(None, instance, image, a_vif(bench, 2))
    bench.ops.attach_interface(None, instance, image, a_vif(bench, 3, model=VifModel.VMXNET3))
    device = vim.vm.device
    kinds = {nic.macAddress: type(nic) for nic in nics(bench, instance)}
    assert [kinds[mac] for mac in MACS[:4]] == [
        device.VirtualE1000,
        device.VirtualE1000,
        device.VirtualE1000e,
        device.VirtualVmxnet3,
    ]


def test_a_new_nic_is_allocated_what_the_flavor_says(bench: Bench) -> None:
    instance = spawned(bench, ON)
    specs = {"quota:vif_limit": "100", "quota:vif_shares_level": "high"}
    theirs = {"uuid": instance.uuid, "flavor": {"extra_specs": specs}}
    bench.ops.plug_vifs(theirs, [a_vif(bench, 0)])
    bench.ops.attach_interface(None, theirs, None, a_vif(bench, 1))
    bench.ops.attach_interface(None, instance, None, a_vif(bench, 2))
    found = {nic.macAddress: nic.resourceAllocation for nic in nics(bench, instance)}
    for mac in MACS[:2]:
        assert (found[mac].limit, found[mac].share.level) == (100, "high")
    other = found[MACS[2]]
    assert other is None or other.limit in {None, -1}


def test_an_unknown_network_leaves_everything_as_it_was(bench: Bench) -> None:
    instance = spawned(bench, OFF, a_vif(bench, 0))
    before = bench.world()
    refused: list[Callable[[], object]] = [
        lambda: bench.ops.plug_vifs(
            instance, [a_vif(bench, 1), a_vif(bench, 2, network="nowhere")]
        ),
        lambda: bench.ops.attach_interface(
            None, instance, None, a_vif(bench, 1, network="nowhere")
        ),
    ]
    for do in refused:
        with pytest.raises(NetworkNotFound, match="nowhere"):
            do()
    assert bench.world() == before


@needs(Capability.POWER_FAULTS)
def test_a_suspended_instance_keeps_its_nics(bench: Bench) -> None:
    instance = spawned(bench, SUSPENDED, a_vif(bench, 0))
    before = bench.world()
    for do in (bench.ops.plug_vifs, bench.ops.unplug_vifs):
        with pytest.raises(InvalidPowerState):
            do(instance, [a_vif(bench, 1) if do == bench.ops.plug_vifs else a_vif(bench, 0)])
    bench.ops.plug_vifs(instance, [a_vif(bench, 0)])  # it is there, so nothing has to change
    assert bench.world() == before


@needs(Capability.COUNTED_CALLS)
@pytest.mark.parametrize("state", ["suspended", "paused"])
def test_what_keeps_its_nics_is_refused_at_the_first_look(bench: Bench, state: str) -> None:
    instance, there, other = bench.spawn(vifs=[a_vif(bench, 0)]), a_vif(bench, 0), a_vif(bench, 1)
    (bench.ops.suspend if state == "suspended" else bench.ops.pause)(instance)
    bench.session.inventory.wait_fresh()
    told = (
        rf"^Instance {instance.name} \({instance.uuid}\) is {state}\. (Resume|Unpause) it first\.$"
    )
    for do in (
        lambda: bench.ops.plug_vifs(instance, [there, other]),
        lambda: bench.ops.unplug_vifs(instance, [there]),
        lambda: bench.ops.attach_interface(None, instance, None, other),
        lambda: bench.ops.detach_interface(None, instance, there),
    ):

        def refused(do: Callable[[], object] = do) -> None:
            with pytest.raises((InvalidPowerState, InvalidState), match=told):
                do()

        assert bench.calls_of(refused) == {"RetrievePropertiesEx": 1}


@needs(Capability.COUNTED_CALLS, Capability.HOT_UNPLUG)
@pytest.mark.parametrize("state", [OFF, ON])
def test_a_change_is_one_reconfiguration_and_none_is_none(bench: Bench, state: str) -> None:
    vifs = [a_vif(bench, number) for number in range(3)]
    instance = spawned(bench, state)
    for do, count in (
        (bench.ops.plug_vifs, 1),
        (bench.ops.plug_vifs, 0),
        (bench.ops.unplug_vifs, 1),
        (bench.ops.unplug_vifs, 0),
    ):
        bench.backend.forget_calls()
        do(instance, vifs)
        calls = {k: n for k, n in bench.backend.calls().items() if k not in OF_WAITING}
        assert calls == {"RetrievePropertiesEx": 1, **({"ReconfigVM_Task": 1} if count else {})}


def test_a_reboot_leaves_the_nics_alone(bench: Bench) -> None:
    instance = spawned(bench, ON, a_vif(bench, 0))
    before = version(bench, instance)
    bench.ops.reboot(instance, [a_vif(bench, 0), a_vif(bench, 1)], "HARD")
    assert (macs(bench, instance), version(bench, instance)) == (MACS[:1], before)


def test_an_unknown_instance(bench: Bench) -> None:
    uuid, vif = a_uuid(), a_vif(bench, 0)
    refused: list[Callable[[], object]] = [
        lambda: bench.ops.plug_vifs(uuid, [vif]),
        lambda: bench.ops.unplug_vifs(uuid, [vif]),
        lambda: bench.ops.attach_interface(None, uuid, None, vif),
        lambda: bench.ops.detach_interface(None, uuid, vif),
    ]
    for do in refused:
        with pytest.raises(InstanceNotFound):
            do()
