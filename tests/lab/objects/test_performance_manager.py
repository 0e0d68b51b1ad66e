"""Counters: which there are, and that their values follow from what the hypervisor says."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.specs import new_disk, scsi, standard_nic
from vmops.lab.hypervisor.port import DiskStatistics, GuestStatistics, NicStatistics
from vmops.lab.operations.performance_counters import Reading, Shape, values_between

Manager = vim.PerformanceManager
SHAPE = Shape(cpus=2, mhz=2000, memory_kib=1024 * 1024, disks={2000: "scsi0:0"}, uptime_s=5)


def used(
    cpu_s: float = 0.0,
    resident_mib: int = 0,
    read_kib: int = 0,
    written_kib: int = 0,
    nic: tuple[int | None, int | None] = (None, None),
) -> GuestStatistics:
    disk = DiskStatistics(
        read_bytes=read_kib * 1024, written_bytes=written_kib * 1024, reads=read_kib, writes=0
    )
    return GuestStatistics(
        cpu_time_ns=int(cpu_s * 1e9),
        resident_bytes=resident_mib * 1024**2,
        disks={2000: disk},
        nics={
            4000: NicStatistics(
                received_bytes=nic[0],
                sent_bytes=nic[1],
                received_packets=None if nic[0] is None else nic[0] // 1024,
                sent_packets=None if nic[1] is None else nic[1] // 1024,
            )
        },
    )


def between(
    before: GuestStatistics, after: GuestStatistics, seconds: float = 10.0
) -> dict[tuple[int, str], int]:
    values = values_between(
        Reading(at=100.0, used=before), Reading(at=100.0 + seconds, used=after), SHAPE
    )
    return {(key, name): value for (key, name), value in values.items()}


def test_rates_are_over_the_time_between() -> None:
    values = between(used(cpu_s=4), used(cpu_s=9, resident_mib=512, read_kib=100, written_kib=50))

    assert values[2, ""] == 2500  # 5 s of 20 processor seconds, in hundredths of a percent
    assert values[6, ""] == 1000
    assert values[13, ""] == 5000
    assert values[98, ""] == 512 * 1024
    assert values[24, ""] == 5000
    assert (values[130, ""], values[131, ""], values[125, ""]) == (10, 5, 15)
    assert (values[178, "scsi0:0"], values[179, "scsi0:0"], values[173, "scsi0:0"]) == (10, 5, 10)
    assert not any(key in (143, 146, 147, 148, 149) for key, _ in values)


def test_cards_count_where_the_hypervisor_knows() -> None:
    values = between(used(nic=(0, 0)), used(nic=(20480, 10240)))

    assert (values[148, "4000"], values[149, "4000"], values[143, ""]) == (2, 1, 3)
    assert (values[146, "4000"], values[147, "4000"], values[146, ""]) == (20, 10, 20)


def test_counters_that_begin_again_are_not_negative() -> None:
    values = between(used(cpu_s=50, read_kib=500), used(cpu_s=1, read_kib=10))

    assert (values[13, ""], values[130, ""]) == (1000, 1)


@pytest.fixture
def vm(client: Client, name: str) -> Any:
    made = client.create(name, scsi(), new_disk(4), standard_nic())
    client.result(made.PowerOnVM_Task())
    return made


def busy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every guest use half a processor from now on, and read 1 MiB a second."""
    began = time.monotonic()

    async def statistics(_key: str) -> GuestStatistics:
        seconds = time.monotonic() - began
        return used(seconds / 2, 32, int(seconds * 1024), nic=(0, 0))

    monkeypatch.setattr(client.lab.kernel.hypervisor, "statistics", statistics)


def ask(client: Client, vm: Any, *metrics: tuple[int, str], **fields: Any) -> Any:
    spec = Manager.QuerySpec(
        entity=vm,
        intervalId=20,
        metricId=[Manager.MetricId(counterId=key, instance=name) for key, name in metrics],
        **fields,
    )
    return client.content.perfManager.QueryPerf([spec])[0]


def test_a_client_finds_a_counter_by_its_name_and_asks(
    client: Client, vm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = client.content.perfManager
    busy(client, monkeypatch)
    ask(client, vm)
    time.sleep(2.1)  # a reading is told again for two seconds
    keys = {
        f"{each.groupInfo.key}.{each.nameInfo.key}.{each.rollupType}": each.key
        for each in manager.perfCounter
    }

    wanted = [(keys["cpu.usage.average"], ""), (keys["virtualDisk.read.average"], "*")]
    found = ask(client, vm, *wanted, maxSample=1)

    values = {(each.id.counterId, each.id.instance): list(each.value) for each in found.value}
    [[percent], [rate]] = values.values()
    assert list(values) == [(2, ""), (178, "scsi0:0")]
    assert 4500 <= percent <= 5500
    assert 900 <= rate <= 1150
    assert len(found.sampleInfo) == 1
    assert found.sampleInfo[0].interval == 20
    assert vm.summary.quickStats.overallCpuUsage > 0
    assert vm.summary.quickStats.hostMemoryUsage == 32


def test_who_has_figures_and_which(client: Client, vm: Any) -> None:
    manager = client.content.perfManager
    summary = manager.QueryPerfProviderSummary(vm)

    assert (summary.currentSupported, summary.refreshRate) == (True, 20)
    there = {(each.counterId, each.instance) for each in manager.QueryAvailablePerfMetric(vm)}
    assert {(2, ""), (6, ""), (98, ""), (130, ""), (178, "scsi0:0"), (148, "4000")} <= there
    assert [each.key for each in manager.QueryPerfCounter([6, 2])] == [6, 2]
    assert len(manager.QueryPerfCounterByLevel(1)) == len(manager.perfCounter)
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.QueryPerfProviderSummary(client.datacenter)
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.QueryPerfCounter([4711])


def test_hosts_add_up_and_other_forms(
    client: Client, vm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(client, monkeypatch)
    ask(client, vm)
    time.sleep(2.1)  # a reading is told again for two seconds
    alone = ask(client, vm, (98, "")).value[0].value[-1]
    host = ask(client, vm.runtime.host, (98, "")).value[0].value[-1]
    lines = ask(client, vm, (98, ""), format="csv", maxSample=1)

    assert host >= alone == 32 * 1024
    assert lines.value[0].value == str(alone)
    assert lines.sampleInfoCSV.startswith("20,")


def test_a_machine_that_is_off_has_no_samples(client: Client, vm: Any) -> None:
    ask(client, vm)
    client.result(vm.PowerOffVM_Task())

    assert list(ask(client, vm).sampleInfo) == []
    assert client.content.perfManager.QueryAvailablePerfMetric(vm) == []
    assert vm.summary.quickStats.overallCpuUsage == 0


def test_there_is_no_history(client: Client, vm: Any) -> None:
    spec = Manager.QuerySpec(entity=vm, intervalId=300)

    assert list(client.content.perfManager.QueryPerf([spec])[0].sampleInfo) == []
