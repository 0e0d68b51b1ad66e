"""Processors and memory that a guest gets while it runs, as the guest sees them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.guests.lab_guest import LabGuest
from tests.guests.plain_qemu import require_qemu
from tests.lab.client import connect
from vmops.lab import Lab, LabSettings

pytestmark = pytest.mark.guest
MAC = "00:50:56:0a:0b:0d"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabGuest]:
    require_qemu()
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("growth"), hypervisor="qemu")
    with ExitStack() as undo:
        client = connect(undo.enter_context(Lab.run(settings)))
        undo.callback(client.stub.DropConnections)
        made = LabGuest(client, "grows", mac=MAC)
        client.reconfigure(made.vm, cpuHotAddEnabled=True, memoryHotAddEnabled=True)
        made.power_on()
        made.wait_until("guest.toolsRunningStatus", "guestToolsRunning", seconds=180)
        made.wait_for("root login on 'tty1'")
        yield made


def memory_mib(guest: LabGuest) -> int:
    said = guest.run("cat /proc/meminfo")
    found = re.search(r"MemTotal: +(\d+) kB", said)
    assert found, said
    return int(found[1]) // 1024


def cpus(guest: LabGuest) -> int:
    return int(guest.run("nproc"))


def in_time(read: Callable[[], Any], wanted: Callable[[Any], object]) -> None:
    deadline = time.monotonic() + 30
    while not wanted(value := read()):
        assert time.monotonic() < deadline, f"it is still {value}"


def test_the_guest_gets_processors_and_memory(guest: LabGuest) -> None:
    client, vm = guest.client, guest.vm
    assert vm.config.hotPlugMemoryLimit == 16 * 128
    before = memory_mib(guest)
    assert cpus(guest) == 1

    client.reconfigure(vm, numCPUs=2, memoryMB=256)

    in_time(lambda: cpus(guest), lambda value: value == 2)
    in_time(lambda: memory_mib(guest), lambda value: value >= before + 120)
    assert (vm.summary.config.numCpu, vm.summary.config.memorySizeMB) == (2, 256)
    assert vm.runtime.maxMemoryUsage == 256
    client.reconfigure(vm, numCPUs=3)
    in_time(lambda: cpus(guest), lambda value: value == 3)


def test_what_cannot_be_added_is_refused(guest: LabGuest) -> None:
    client, vm = guest.client, guest.vm
    shown = vm.config.hardware.numCPU, vm.config.hardware.memoryMB
    for spec, fault in (
        ({"numCPUs": 1}, vim.fault.CpuHotPlugNotSupported),
        ({"numCPUs": 9}, vim.fault.CpuHotPlugNotSupported),
        ({"memoryMB": 128}, vim.fault.MemoryHotPlugNotSupported),
        ({"memoryMB": 4096}, vim.fault.MemoryHotPlugNotSupported),
        ({"memoryMB": 300}, vmodl.fault.InvalidArgument),
    ):
        with pytest.raises(fault):
            client.reconfigure(vm, **spec)
    assert (vm.config.hardware.numCPU, vm.config.hardware.memoryMB) == shown


def test_a_grown_guest_is_suspended_moved_and_restarted(guest: LabGuest) -> None:
    client, vm = guest.client, guest.vm
    grown = cpus(guest), memory_mib(guest)
    boots = guest.run("cat /var/lib/boots")
    # It lies in the memory that was added, or much of it does.
    total = guest.run(
        "dd if=/dev/urandom of=/tmp/random bs=1M count=100 2>/dev/null; cksum /tmp/random",
        seconds=60,
    )

    client.result(vm.SuspendVM_Task())
    guest.power_on()
    assert (cpus(guest), memory_mib(guest)) == grown
    assert guest.run("cksum /tmp/random", seconds=60) == total

    other = next(host for host in client.compute.host if host != vm.runtime.host)
    client.result(vm.MigrateVM_Task(None, other, "defaultPriority"))
    assert (cpus(guest), memory_mib(guest)) == grown
    assert guest.run("cksum /tmp/random", seconds=60) == total
    assert guest.run("cat /var/lib/boots") == boots

    client.reconfigure(vm, memoryMB=vm.config.hardware.memoryMB + 128)
    in_time(lambda: memory_mib(guest), lambda value: value >= grown[1] + 120)
    grown = cpus(guest), memory_mib(guest)
    vm.RebootGuest()
    guest.wait_for("root login on 'tty1'", seconds=180)
    in_time(
        lambda: (cpus(guest), memory_mib(guest)),
        lambda value: value[0] == grown[0] and abs(value[1] - grown[1]) < 16,
    )
