"""Interfaces: one NIC each, in order, with its MAC, on its port group."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Vif
from vmops.errors import InvalidArgument, InvalidName, UnsupportedDevice

MACS = ("00:50:56:3f:00:01", "00:50:56:3f:00:02")
CARDS = {
    "e1000": vim.vm.device.VirtualE1000,
    "e1000e": vim.vm.device.VirtualE1000e,
    "VirtualPCNet32": vim.vm.device.VirtualPCNet32,
    "VirtualVmxnet3": vim.vm.device.VirtualVmxnet3,
}


def nics(bench: Bench, instance: Any) -> list[Any]:
    return second_view.devices(bench.vm(instance), vim.vm.device.VirtualEthernetCard)


def test_two_interfaces_are_two_nics_in_order_with_their_macs(bench: Bench) -> None:
    network = bench.backend.network
    vifs = [Vif(network=network, mac_address=mac, id=f"port-{mac}") for mac in MACS]
    instance = bench.spawn(vifs=vifs, power_on=False)
    assert [nic.macAddress for nic in nics(bench, instance)] == list(MACS)
    options = second_view.extra_config(bench.vm(instance))
    assert [options["nvp.iface-id.0"], options["nvp.iface-id.1"]] == [v.id for v in vifs]


def test_a_nic_is_on_the_standard_port_group(bench: Bench) -> None:
    instance = bench.spawn(vifs=[Vif(network=bench.backend.network)], power_on=False)
    (nic,) = nics(bench, instance)
    assert nic.backing.deviceName == bench.backend.network
    assert nic.connectable.startConnected
    assert nic.macAddress


@needs(Capability.DISTRIBUTED_NETWORK)
def test_a_nic_is_on_the_distributed_port_group(bench: Bench) -> None:
    name = bench.backend.distributed_network
    instance = bench.spawn(vifs=[Vif(network=name, mac_address=MACS[0])], power_on=False)
    (nic,) = nics(bench, instance)
    group = second_view.named(bench.content, vim.dvs.DistributedVirtualPortgroup, name)
    found = second_view.properties(group, "key", "config.distributedVirtualSwitch")
    switch = found["config.distributedVirtualSwitch"]
    assert nic.backing.port.portgroupKey == found["key"]
    assert nic.backing.port.switchUuid == second_view.properties(switch, "uuid")["uuid"]
    assert nic.macAddress == MACS[0]


@needs(Capability.DISTRIBUTED_NETWORK)
def test_both_kinds_can_be_mixed(bench: Bench) -> None:
    names = (bench.backend.distributed_network, bench.backend.network)
    vifs = [Vif(network=name, mac_address=mac) for name, mac in zip(names, MACS, strict=True)]
    instance = bench.spawn(vifs=vifs, power_on=False)
    first, second = nics(bench, instance)
    assert hasattr(first.backing, "port")
    assert second.backing.deviceName == bench.backend.network
    assert [first.macAddress, second.macAddress] == list(MACS)


@pytest.mark.parametrize("model", CARDS)
def test_the_images_nic_model_is_used(bench: Bench, model: str) -> None:
    image = bench.images.named("flat", hw_vif_model=model)
    instance = bench.spawn(image, vifs=[Vif(network=bench.backend.network)], power_on=False)
    (nic,) = nics(bench, instance)
    assert type(nic) is CARDS[model]


def test_an_unknown_model_is_refused(bench: Bench) -> None:
    before = bench.world()
    properties = {"id": "flat", "properties": {"hw_vif_model": "ne2000"}}
    vifs = [{"network": bench.backend.network}]
    instance = {"uuid": "7e57aaaa-0000-4000-8000-000000000001", "name": "vmops-test-nic"}
    with pytest.raises(UnsupportedDevice, match="ne2000"):
        bench.ops.spawn(None, instance, properties, vifs)
    assert bench.world() == before


@pytest.mark.parametrize("mac", ["00:50:56", "zz:50:56:00:00:01", "00-50-56-00-00-01"])
def test_a_mac_that_is_none_is_refused(bench: Bench, mac: str) -> None:
    before = bench.world()
    vifs = [{"network": {"bridge": bench.backend.network}, "address": mac}]
    with pytest.raises(InvalidName, match="MAC"):
        bench.spawn(vifs=vifs)
    assert bench.world() == before


def test_an_interface_without_a_network_goes_to_the_default(bench: Bench) -> None:
    ops = bench.engine(default_network=bench.backend.network)
    instance = bench.spawn(vifs=[{"address": MACS[0]}], ops=ops, power_on=False)
    (nic,) = nics(bench, instance)
    assert nic.backing.deviceName == bench.backend.network


RESERVED = ("00:50:56:80:00:01", "01:00:5e:00:00:01", "00:00:00:00:00:00")


@pytest.mark.parametrize("mac", RESERVED)
def test_an_address_that_no_nic_can_have_is_refused_before_anything_is_made(
    bench: Bench, mac: str
) -> None:
    before = bench.world()
    with pytest.raises(InvalidArgument, match=mac):
        bench.spawn(vifs=[Vif(network=bench.backend.network, mac_address=mac)])
    assert bench.world() == before
    instance = bench.spawn(power_on=False)
    before = bench.world()
    with pytest.raises(InvalidArgument, match=mac):
        vif = Vif(network=bench.backend.network, mac_address=mac)
        bench.ops.attach_interface(None, instance, None, vif)
    assert bench.world() == before


def test_one_address_for_two_nics_is_refused_before_anything_is_made(bench: Bench) -> None:
    before = bench.world()
    vif = Vif(network=bench.backend.network, mac_address="fa:16:3e:00:00:77")
    with pytest.raises(InvalidArgument, match="fa:16:3e:00:00:77"):
        bench.spawn(vifs=[vif, vif])
    assert bench.world() == before
