"""What the guest is told of its addresses: machine.id, and cloud-init's guestinfo."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import OF_WAITING, Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, in_state
from vmops.errors import InstanceNotFound

IPV4 = {
    "cidr": "192.0.2.0/26",
    "gateway": {"address": "192.0.2.1", "version": 4},
    "dns": [{"address": "192.0.2.53"}, {"address": "198.51.100.53"}],
    "ips": [{"address": "192.0.2.10"}, {"address": "192.0.2.11"}],
}
IPV6 = {
    "cidr": "2001:db8::/64",
    "gateway": {"address": "2001:db8::1", "version": 6},
    "dns": [{"address": "2001:db8::53"}],
    "ips": [{"address": "2001:db8::10"}],
}
BARE: dict[str, Any] = {"cidr": "198.51.100.0/24", "gateway": None, "dns": [], "ips": []}
POINT = {"cidr": "203.0.113.4/31", "ips": [{"address": "203.0.113.4"}]}
MACS = [f"00:50:56:3e:00:0{number}" for number in range(1, 6)]


def a_vif(bench: Bench, mac: str, *subnets: Any) -> dict[str, Any]:
    """An interface in Nova's form."""
    network = {"bridge": bench.backend.network, "subnets": list(subnets)}
    return {"id": f"port-{mac}", "address": mac, "network": network}


def told(bench: Bench, instance: Any) -> dict[str, str]:
    return second_view.extra_config(bench.vm(instance))


EXPECTED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "ipv4": ([IPV4], "192.0.2.10;255.255.255.192;192.0.2.1;192.0.2.63;192.0.2.53"),
    "ipv6 only": ([IPV6], ";;;;"),
    "ipv6 before ipv4": (
        [IPV6, IPV4],
        "192.0.2.10;255.255.255.192;192.0.2.1;192.0.2.63;192.0.2.53",
    ),
    "two ipv4": ([IPV4, BARE], "192.0.2.10;255.255.255.192;192.0.2.1;192.0.2.63;192.0.2.53"),
    "no addresses": ([BARE], ";255.255.255.0;;198.51.100.255;"),
    "no broadcast": ([POINT], "203.0.113.4;255.255.255.254;;;"),
    "no subnet": ([], ";;;;"),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_machine_id_has_the_first_ipv4_subnet(bench: Bench, kind: str) -> None:
    subnets, fields = EXPECTED[kind]
    instance = in_state(bench, OFF)
    bench.ops.inject_network_info(instance, [a_vif(bench, MACS[0], *subnets)])
    assert told(bench, instance)["machine.id"] == f"{MACS[0]};{fields}#"


def test_machine_id_has_every_interface_in_order(bench: Bench) -> None:
    instance = in_state(bench, OFF)
    kinds = ([IPV4], [IPV6], [IPV6, IPV4])
    vifs = [a_vif(bench, mac, *subnets) for mac, subnets in zip(MACS, kinds, strict=False)]
    bench.ops.inject_network_info(instance, vifs)
    four = "192.0.2.10;255.255.255.192;192.0.2.1;192.0.2.63;192.0.2.53"
    assert (
        told(bench, instance)["machine.id"] == f"{MACS[0]};{four}#{MACS[1]};;;;;#{MACS[2]};{four}#"
    )


def test_cloud_init_is_told_all_addresses_of_both_versions(bench: Bench) -> None:
    instance = in_state(bench, OFF)
    bench.ops.inject_network_info(
        instance, [a_vif(bench, MACS[0], IPV4, IPV6), a_vif(bench, MACS[1])]
    )
    options = told(bench, instance)
    assert options["guestinfo.metadata.encoding"] == "base64"
    metadata = json.loads(base64.b64decode(options["guestinfo.metadata"]))
    assert metadata["instance-id"] == instance.uuid
    assert metadata["local-hostname"] == instance.name
    assert metadata["network"] == {
        "version": 2,
        "ethernets": {
            "nic0": {
                "match": {"macaddress": MACS[0]},
                "addresses": ["192.0.2.10/26", "192.0.2.11/26", "2001:db8::10/64"],
                "routes": [
                    {"to": "0.0.0.0/0", "via": "192.0.2.1"},
                    {"to": "::/0", "via": "2001:db8::1"},
                ],
                "nameservers": {"addresses": ["192.0.2.53", "198.51.100.53", "2001:db8::53"]},
            },
            "nic1": {"match": {"macaddress": MACS[1]}, "dhcp4": True},
        },
    }


def test_an_interface_with_ipv6_only_and_no_address_asks_for_one(bench: Bench) -> None:
    instance = in_state(bench, OFF)
    bench.ops.inject_network_info(instance, [a_vif(bench, MACS[0], {**IPV6, "ips": []})])
    metadata = json.loads(base64.b64decode(told(bench, instance)["guestinfo.metadata"]))
    nic = metadata["network"]["ethernets"]["nic0"]
    assert nic == {"match": {"macaddress": MACS[0]}, "dhcp6": True}


def test_later_addresses_take_the_place_of_earlier_ones(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.inject_network_info(instance, [a_vif(bench, MACS[0], IPV4)])
    bench.ops.inject_network_info(instance, [a_vif(bench, MACS[1], BARE)])
    assert told(bench, instance)["machine.id"] == f"{MACS[1]};;255.255.255.0;;198.51.100.255;#"
    bench.ops.inject_network_info(instance, None)
    assert told(bench, instance).get("machine.id", "") == ""


def test_a_spawn_that_is_to_inject_tells_the_guest_before_it_boots(bench: Bench) -> None:
    ops = bench.engine(inject_network_info=True)
    vifs = [a_vif(bench, MACS[0], IPV4)]
    instance = bench.spawn(ops=ops, vifs=vifs, power_on=False)
    options = told(bench, instance)
    assert options["machine.id"].startswith(f"{MACS[0]};192.0.2.10;")
    assert options["guestinfo.metadata.encoding"] == "base64"
    plain = bench.spawn(vifs=[a_vif(bench, MACS[1], IPV4)], power_on=False)
    assert "machine.id" not in told(bench, plain)


@needs(Capability.COUNTED_CALLS)
@pytest.mark.parametrize("state", [OFF, ON])
def test_it_is_one_reconfiguration_and_nothing_else(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    bench.ops.get_info(instance)
    bench.backend.forget_calls()
    bench.ops.inject_network_info(instance, [a_vif(bench, MACS[0], IPV4, IPV6)])
    calls = bench.backend.calls()
    assert calls["ReconfigVM_Task"] == 1
    assert set(calls) <= {"ReconfigVM_Task", *OF_WAITING}


def test_an_unknown_instance(bench: Bench) -> None:
    with pytest.raises(InstanceNotFound):
        bench.ops.inject_network_info(a_uuid(), [a_vif(bench, MACS[0], IPV4)])
