"""Diagnostics: a flat mapping for programs, beside what pyVmomi reads of the same VM."""

from __future__ import annotations

import json

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid, an_instance
from tests.contract.engine import OF_WAITING, Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, in_state
from vmops import Instance, Vif
from vmops.errors import InstanceNotFound
from vmops.model.power import InstanceState

COUNTED = ("vmware:uptimeSeconds", "vmware:guestMemoryUsage", "vmware:hostMemoryUsage")
PATHS = {
    "vmware:name": "summary.config.name",
    "vmware:memorySizeMB": "summary.config.memorySizeMB",
    "vmware:numCpu": "summary.config.numCpu",
    "vmware:numEthernetCards": "summary.config.numEthernetCards",
    "vmware:numVirtualDisks": "summary.config.numVirtualDisks",
    "vmware:instanceUuid": "summary.config.instanceUuid",
    "vmware:vmPathName": "summary.config.vmPathName",
    "vmware:powerState": "summary.runtime.powerState",
    "vmware:connectionState": "summary.runtime.connectionState",
}


@pytest.mark.parametrize("state", [OFF, ON])
def test_they_are_what_the_server_says(bench: Bench, state: str) -> None:
    vifs = [Vif(network=bench.backend.network)]
    instance = bench.spawn(instance=an_instance(vcpus=2), vifs=vifs, power_on=state == ON)
    found = bench.ops.get_diagnostics(instance)
    expected = second_view.properties(bench.vm(instance), *PATHS.values())
    assert {key: found.get(key) for key in PATHS} == {
        key: expected.get(path) for key, path in PATHS.items()
    }
    assert found["vmware:powerState"] == state
    assert found["vmware:memorySizeMB"] == 16


def test_they_are_flat_and_can_be_written_as_json(bench: Bench) -> None:
    found = bench.ops.get_diagnostics(in_state(bench, ON))
    assert all(key.startswith("vmware:") for key in found)
    assert all(isinstance(value, str | int | float | bool) for value in found.values())
    assert json.loads(json.dumps(found)) == found
    assert {type(value) for value in found.values()} <= {str, int, float, bool}


@pytest.mark.parametrize("key", COUNTED)
def test_a_running_instance_has_its_uptime_and_memory(bench: Bench, key: str) -> None:
    value = bench.ops.get_diagnostics(in_state(bench, ON)).get(key)
    assert isinstance(value, int)
    assert value >= 0


def test_they_name_the_host(bench: Bench) -> None:
    instance = in_state(bench, ON)
    host = second_view.properties(bench.vm(instance), "runtime.host")["runtime.host"]
    name = second_view.properties(host, "name")["name"]
    assert bench.ops.get_diagnostics(instance)["vmware:host"] == name


def test_an_unknown_instance(bench: Bench) -> None:
    with pytest.raises(InstanceNotFound):
        bench.ops.get_diagnostics(a_uuid())


@needs(Capability.COUNTED_CALLS)
def test_they_cost_one_call(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.get_diagnostics(instance)
    bench.backend.forget_calls()
    bench.ops.get_diagnostics(instance)
    calls = {k: n for k, n in bench.backend.calls().items() if k not in OF_WAITING}
    assert calls == {"RetrievePropertiesEx": 1}


def test_typed_they_name_every_part(bench: Bench) -> None:
    vifs = [Vif(network=bench.backend.network, mac_address="00:50:56:3c:00:01")]
    instance = bench.spawn(instance=an_instance(vcpus=2), vifs=vifs)
    found = bench.ops.get_instance_diagnostics(instance)
    assert found.state is InstanceState.RUNNING
    assert (found.cpu.vcpus, found.memory.size_mib) == (2, 16)
    assert (found.snapshot_depth, found.question) == (0, "")
    assert found.host == bench.ops.get_diagnostics(instance)["vmware:host"]
    assert isinstance(found.uptime_s, int)
    disk = bench.root_disk(instance)
    assert [(d.key, d.path) for d in found.disks] == [(disk.key, disk.backing.fileName)]
    assert found.disks[0].capacity_bytes == disk.capacityInKB * 1024
    (nic,) = found.nics
    assert (nic.mac_address, nic.network) == (vifs[0].mac_address, bench.backend.network)
    assert nic.connected


@needs(Capability.DISTRIBUTED_NETWORK)
def test_typed_they_name_a_distributed_port_group(bench: Bench) -> None:
    vifs = [Vif(network=bench.backend.distributed_network)]
    instance = bench.spawn(vifs=vifs, power_on=False)
    (nic,) = bench.ops.get_instance_diagnostics(instance).nics
    assert nic.network == bench.backend.distributed_network


def test_typed_of_an_instance_that_is_off_there_are_no_counters(bench: Bench) -> None:
    found = bench.ops.get_instance_diagnostics(in_state(bench, OFF))
    assert found.state is InstanceState.SHUTDOWN
    assert found.uptime_s is None
    assert found.cpu.ready_ms is None
    assert found.memory.consumed_kib is None
    assert [disk.read_bytes_per_s for disk in found.disks] == [None]


def latest(bench: Bench, instance: Instance, counter: str, part: str = "") -> int | None:
    """A counter's newest sample, by pyVmomi alone; None if the server keeps none of it."""
    manager = bench.content.perfManager
    keys = {
        f"{c.groupInfo.key}.{c.nameInfo.key}.{c.rollupType}": c.key
        for c in second_view.properties(manager, "perfCounter")["perfCounter"]
    }
    metric = vim.PerformanceManager.MetricId(counterId=keys[counter], instance=part)
    query = vim.PerformanceManager.QuerySpec(
        entity=bench.vm(instance), maxSample=1, intervalId=20, metricId=[metric]
    )
    (answer,) = manager.QueryPerf([query])
    return int(answer.value[0].value[-1]) if answer.value else None


def in_bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024


def test_typed_a_running_instance_has_counters(bench: Bench) -> None:
    instance = in_state(bench, ON)
    assert latest(bench, instance, "mem.consumed.average") is not None
    found = bench.ops.get_instance_diagnostics(instance)
    assert found.memory.consumed_kib is not None
    assert found.cpu.usage_percent is not None
    assert found.cpu.usage_mhz is not None


@needs(Capability.GUEST)
def test_typed_the_counters_are_those_of_the_guest(bench: Bench) -> None:
    """It has read its disk to boot; a sample is the same for all who ask within two seconds."""
    instance = bench.spawn(vifs=[Vif(network=bench.backend.network)])
    bench.serial(instance).wait_for("tick 1")
    for _ in range(3):
        found = bench.ops.get_instance_diagnostics(instance)
        (disk,), (nic,) = found.disks, found.nics
        told = (disk.read_bytes_per_s, found.memory.consumed_kib, nic.received_bytes_per_s)
        expected = (
            in_bytes(latest(bench, instance, "virtualDisk.read.average", "scsi0:0")),
            latest(bench, instance, "mem.consumed.average"),
            in_bytes(latest(bench, instance, "net.received.average", str(nic.key))),
        )
        if told == expected:
            break
    assert told == expected
    assert disk.name == "scsi0:0"
    assert (found.memory.consumed_kib or 0) > 1024
    assert None not in (disk.read_bytes_per_s, disk.written_bytes_per_s, disk.reads_per_s)


@needs(Capability.COUNTED_CALLS)
def test_typed_they_cost_a_read_and_a_question(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.get_instance_diagnostics(instance)
    bench.backend.forget_calls()
    bench.ops.get_instance_diagnostics(instance)
    calls = {k: n for k, n in bench.backend.calls().items() if k not in OF_WAITING}
    assert calls == {"RetrievePropertiesEx": 1, "QueryPerf": 1}


def test_typed_an_unknown_instance(bench: Bench) -> None:
    with pytest.raises(InstanceNotFound):
        bench.ops.get_instance_diagnostics(a_uuid())
