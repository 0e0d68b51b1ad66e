"""Guests that really run: what happens to them, seen through their own output."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.qemu.machines import PVSCSI, Log, a_disk, a_hypervisor, a_nic, bootable, counting
from vmops.lab.hypervisor.errors import HypervisorError, HypervisorMissing
from vmops.lab.hypervisor.port import Cdrom, Controller, GuestDefinition, Segment, SerialPort
from vmops.lab.qemu import QemuHypervisor
from vmops.lab.qemu.process import ProcessIdentity

pytestmark = pytest.mark.guest

NET = Segment(name="VM Network", nat=True)


def pid_of(run_dir: Path, key: str) -> int:
    identity = ProcessIdentity.load(run_dir / "guests" / key / "process")
    assert identity is not None
    return identity.pid


async def until(happened: Callable[[], object], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


def test_a_guest_runs_is_reset_and_is_powered_off(tmp_path: Path) -> None:
    async def run() -> None:
        stopped: list[str] = []
        async with a_hypervisor(tmp_path / "run", stopped) as hypervisor:
            machine = counting("vm-1", tmp_path)
            await hypervisor.power_on(machine)
            assert await hypervisor.running() == {"vm-1"}
            log = Log(tmp_path, "vm-1")
            counts = await asyncio.to_thread(log.wait_for, 10)
            assert counts[:10] == list(range(1, 11))
            with pytest.raises(HypervisorError, match="runs already"):
                await hypervisor.power_on(machine)
            await hypervisor.reset("vm-1")
            await until(lambda: 1 in log.counts()[1:])
            pid = pid_of(tmp_path / "run", "vm-1")
            await hypervisor.power_off("vm-1")
            assert await hypervisor.running() == frozenset()
            assert not Path(f"/proc/{pid}").exists()
            await hypervisor.power_off("vm-1")
            for ask in (hypervisor.reset, hypervisor.screenshot, hypervisor.press_power_button):
                with pytest.raises(HypervisorError, match="vm-1 does not run"):
                    await ask("vm-1")
        assert stopped == []
        assert [file.name for file in (tmp_path / "run/guests/vm-1").iterdir()] == ["qemu.log"]

    asyncio.run(run())


def test_the_screen_shows_what_the_guest_prints(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(counting("vm-1", tmp_path))
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 3)
            early = await hypervisor.screenshot("vm-1")
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 10)
            later = await hypervisor.screenshot("vm-1")
            assert early.startswith(b"\x89PNG\r\n")
            assert early != later
            assert not list((tmp_path / "run/guests/vm-1").glob("screen*"))

    asyncio.run(run())


def test_a_resumed_guest_goes_on_where_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir, memory = tmp_path / "run", tmp_path / "vm.vmss"
        machine = counting("vm-1", tmp_path, nics=(a_nic(1),), segments=(NET,))
        log = Log(tmp_path, "vm-1")
        stopped: list[str] = []
        async with a_hypervisor(run_dir, stopped) as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(log.wait_for, 20)
            await hypervisor.suspend("vm-1", memory)
            assert await hypervisor.running() == frozenset()
            before = log.counts()
            assert memory.stat().st_mode & 0o777 == 0o600
        async with a_hypervisor(run_dir, stopped) as hypervisor:
            await hypervisor.resume(machine, memory)
            after = await asyncio.to_thread(log.wait_for, 20)
        assert after == list(range(1, len(after) + 1))
        assert len(after) >= len(before) + 20
        assert stopped == []

    asyncio.run(run())


def test_a_guest_whose_memory_cannot_be_written_runs_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            nvme = Controller(key=31000, bus_number=0, model="VirtualNVMEController")
            await hypervisor.power_on(counting("vm-1", tmp_path, controllers=(PVSCSI, nvme)))
            log = Log(tmp_path, "vm-1")
            await asyncio.to_thread(log.wait_for, 2)
            with pytest.raises(HypervisorError, match="nvme"):
                await hypervisor.suspend("vm-1", tmp_path / "memory")
            with pytest.raises(HypervisorError, match="File exists"):
                await hypervisor.suspend("vm-1", log.file)
            with pytest.raises(HypervisorError, match="No such file"):
                await hypervisor.suspend("vm-1", tmp_path / "none/memory")
            assert not (tmp_path / "memory").exists()
            await asyncio.to_thread(log.wait_for, 5)

    asyncio.run(run())


def test_what_is_not_a_guests_memory_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        memory, short = tmp_path / "memory", tmp_path / "short"
        machine = counting("vm-1", tmp_path)
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            for content in (b"", b"x" * 9000, b'{"kind": 1}', bytes(9000)):
                memory.write_bytes(content)
                with pytest.raises(HypervisorError, match="is not the memory of a QEMU guest"):
                    await hypervisor.resume(machine, memory)
            with pytest.raises(HypervisorError, match="cannot be read"):
                await hypervisor.resume(machine, tmp_path / "none")
            await hypervisor.power_on(machine)
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 1)
            memory.unlink()
            await hypervisor.suspend("vm-1", memory)
            short.write_bytes(memory.read_bytes()[:-1])
            with pytest.raises(HypervisorError, match="cut short"):
                await hypervisor.resume(machine, short)
            other = counting("vm-1", tmp_path, memory_mib=32)
            with pytest.raises(HypervisorError, match="a guest with 1 processors and 16 MiB"):
                await hypervisor.resume(other, memory)
            assert await hypervisor.running() == frozenset()
            await hypervisor.resume(machine, memory)
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 1)

    asyncio.run(run())


def test_a_killed_qemu_is_noticed_and_the_machine_can_start_again(tmp_path: Path) -> None:
    async def run() -> None:
        stopped: list[str] = []
        async with a_hypervisor(tmp_path / "run", stopped) as hypervisor:
            machine = counting("vm-1", tmp_path)
            await hypervisor.power_on(machine)
            os.kill(pid_of(tmp_path / "run", "vm-1"), signal.SIGKILL)
            await until(lambda: stopped == ["vm-1"])
            assert await hypervisor.running() == frozenset()
            await hypervisor.power_on(machine)
            assert await hypervisor.running() == {"vm-1"}

    asyncio.run(run())


def test_a_hung_qemu_can_be_powered_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmops.lab.qemu.guest._QUIT_TIMEOUT_S", 0.5)

    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(counting("vm-1", tmp_path))
            pid = pid_of(tmp_path / "run", "vm-1")
            os.kill(pid, signal.SIGSTOP)
            async with asyncio.timeout(20):
                await hypervisor.power_off("vm-1")
            assert not Path(f"/proc/{pid}").exists()

    asyncio.run(run())


def test_power_off_wins_over_a_suspension(tmp_path: Path) -> None:
    async def run() -> None:
        memory = tmp_path / "memory"
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(counting("vm-1", tmp_path))
            suspending = asyncio.create_task(hypervisor.suspend("vm-1", memory))
            await asyncio.sleep(0)
            with suppress(HypervisorError):
                await hypervisor.power_off("vm-1")
            (outcome,) = await asyncio.gather(suspending, return_exceptions=True)
            assert await hypervisor.running() == frozenset()
            assert memory.exists() == (outcome is None)

    asyncio.run(run())


def test_a_guest_for_whose_memory_there_is_no_room_runs_on(tmp_path: Path) -> None:
    async def run() -> None:
        memory = tmp_path / "memory"
        machine = counting("vm-1", tmp_path)
        log = Log(tmp_path, "vm-1")
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(log.wait_for, 2)
            pid = pid_of(tmp_path / "run", "vm-1")
            limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (256 * 1024, limits[1]))
            with pytest.raises(HypervisorError, match=r"cannot be written: .*too large"):
                await hypervisor.suspend("vm-1", memory)
            assert not memory.exists()
            await asyncio.to_thread(log.wait_for, 5)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            await hypervisor.suspend("vm-1", memory)
            await hypervisor.resume(machine, memory)
            counts = await asyncio.to_thread(log.wait_for, 5)
            assert counts == list(range(1, len(counts) + 1))

    asyncio.run(run())


def test_a_guest_that_dies_while_it_is_suspended_is_off_and_leaves_no_memory(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        stopped: list[str] = []
        memory = tmp_path / "memory"
        async with a_hypervisor(tmp_path / "run", stopped) as hypervisor:
            await hypervisor.power_on(counting("vm-1", tmp_path))
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 2)
            suspending = asyncio.create_task(hypervisor.suspend("vm-1", memory))
            while not memory.exists():
                await asyncio.sleep(0)
            os.kill(pid_of(tmp_path / "run", "vm-1"), signal.SIGKILL)
            with pytest.raises(HypervisorError, match="QEMU"):
                await suspending
            await until(lambda: stopped == ["vm-1"])
            assert not memory.exists()
            assert await hypervisor.running() == frozenset()

    asyncio.run(run())


def test_a_guest_that_is_starting_when_the_lab_stops_is_ended(tmp_path: Path) -> None:
    async def run() -> None:
        hypervisor = QemuHypervisor(tmp_path / "run")
        await hypervisor.start(lambda _key: None)
        starting = asyncio.create_task(hypervisor.power_on(counting("vm-1", tmp_path)))
        await until((tmp_path / "run/guests/vm-1").is_dir)
        await hypervisor.stop(keep_guests=False)
        await starting
        assert not (tmp_path / "run/guests/vm-1/process").exists()
        with pytest.raises(HypervisorError, match="being stopped"):
            await hypervisor.power_on(counting("vm-1", tmp_path))

    try:
        asyncio.run(run())
    finally:
        asyncio.run(end_all(tmp_path / "run"))


def test_guests_outlive_a_lab_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from tests.lab.qemu.machines import a_hypervisor, counting, a_nic
        from tests.lab.qemu.test_guest import NET
        async def run():
            folder = Path(sys.argv[1])
            async with a_hypervisor(folder / "run") as hypervisor:
                for key in ("vm-1", "vm-2"):
                    machine = counting(key, folder, nics=(a_nic(int(key[-1])),), segments=(NET,))
                    await hypervisor.power_on(machine)
                os.kill(os.getpid(), 9)
        asyncio.run(run())
        """
    )

    async def run() -> None:
        stopped: list[str] = []
        async with a_hypervisor(tmp_path / "run", stopped) as hypervisor:
            assert await hypervisor.running() == {"vm-1", "vm-2"}
            for key in ("vm-1", "vm-2"):
                await asyncio.to_thread(Log(tmp_path, key).wait_for, 3)
            assert (await hypervisor.screenshot("vm-1")).startswith(b"\x89PNG")
            os.kill(pid_of(tmp_path / "run", "vm-2"), signal.SIGKILL)
            await until(lambda: stopped == ["vm-2"])
            await hypervisor.stop(keep_guests=True)
            await hypervisor.start(stopped.append)
            assert await hypervisor.running() == {"vm-1"}
            await hypervisor.reset("vm-1")

    try:
        child = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
        assert child.returncode == -signal.SIGKILL
        asyncio.run(run())
    finally:
        asyncio.run(end_all(tmp_path / "run"))


async def end_all(run_dir: Path) -> None:
    async with a_hypervisor(run_dir):
        pass


def test_linked_clones_run_on_one_parent_and_leave_it_alone(tmp_path: Path) -> None:
    base = bootable(tmp_path / "base-flat.vmdk")
    content = base.read_bytes()

    def clone(key: str) -> GuestDefinition:
        delta = tmp_path / f"{key}-delta.vmdk"
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(delta), "1M"]
        subprocess.run(argv, check=True)
        return counting(key, tmp_path, disks=(a_disk(delta, base),))

    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            clones = [clone("vm-1"), clone("vm-2")]
            await asyncio.gather(*map(hypervisor.power_on, clones))
            for key in ("vm-1", "vm-2"):
                await asyncio.to_thread(Log(tmp_path, key).wait_for, 2)
            writer = counting("vm-3", tmp_path, disks=(a_disk(base),))
            with pytest.raises(HypervisorError, match="lock"):
                await hypervisor.power_on(writer)
            assert await hypervisor.running() == {"vm-1", "vm-2"}
        assert base.read_bytes() == content

    asyncio.run(run())


def test_guests_of_a_segment_get_an_address_each_with_any_card(tmp_path: Path) -> None:
    """The firmware's network boot is the guests' software: it asks for an address by DHCP."""

    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            cards = ("VirtualVmxnet3", "VirtualE1000", "VirtualE1000e", "VirtualPCNet32")
            for number, model in enumerate(cards, 1):
                nic = a_nic(number, model=model)
                changes = {"disks": (), "nics": (nic,), "segments": (NET,), "memory_mib": 64}
                await hypervisor.power_on(counting(f"vm-{number}", tmp_path, **changes))
            macs = {a_nic(number).mac_address for number in range(1, 5)}
            await until(lambda: set(hypervisor.leases("VM Network")) == macs, seconds=120)
            assert len(set(hypervisor.leases("VM Network").values())) == 4

    asyncio.run(run())


def test_a_disconnected_card_hears_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            for number, connected in ((1, False), (2, True)):
                nic = replace(a_nic(number), connected=connected)
                changes = {"disks": (), "nics": (nic,), "segments": (NET,), "memory_mib": 64}
                await hypervisor.power_on(counting(f"vm-{number}", tmp_path, **changes))
            await until(lambda: hypervisor.leases("VM Network"), seconds=120)
            assert set(hypervisor.leases("VM Network")) == {a_nic(2).mac_address}

    asyncio.run(run())


@pytest.mark.parametrize(
    "controller",
    [
        Controller(key=200, bus_number=0, model="VirtualIDEController"),
        Controller(key=1000, bus_number=0, model="VirtualLsiLogicController"),
        Controller(key=1000, bus_number=0, model="VirtualLsiLogicSASController"),
        Controller(key=1000, bus_number=0, model="VirtualBusLogicController"),
        Controller(key=15000, bus_number=0, model="VirtualAHCIController"),
        Controller(key=31000, bus_number=0, model="VirtualNVMEController"),
    ],
    ids=lambda controller: controller.model,
)
def test_a_guest_boots_from_every_controller(tmp_path: Path, controller: Controller) -> None:
    async def run() -> None:
        disk = bootable(tmp_path / "disk, one-flat.vmdk")
        machine = counting(
            "vm-1",
            tmp_path,
            controllers=(controller,),
            disks=(a_disk(disk, controller_key=controller.key),),
            serial_ports=(SerialPort(key=9000, file=tmp_path / "vm-1.log"),),
            extra_config={"guestinfo.a": "1"},
        )
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 1)

    asyncio.run(run())


def test_the_boot_order_is_followed(tmp_path: Path) -> None:
    blank = tmp_path / "blank-flat.vmdk"
    blank.write_bytes(bytes(1024 * 1024))
    ide = Controller(key=200, bus_number=0, model="VirtualIDEController")
    second = bootable(tmp_path / "second-flat.vmdk")
    machine = counting(
        "vm-1",
        tmp_path,
        controllers=(PVSCSI, ide),
        disks=(a_disk(blank), a_disk(second, key=2001, unit=1)),
        cdroms=(Cdrom(key=3000, controller_key=200, unit_number=0, image=None),),
        boot_order=(2001,),
    )

    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 1)

    asyncio.run(run())


def test_twenty_guests_start_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            machines = [
                counting(f"vm-{number}", tmp_path, nics=(a_nic(number),), segments=(NET,))
                for number in range(20)
            ]
            await asyncio.gather(*map(hypervisor.power_on, machines))
            assert await hypervisor.running() == {machine.key for machine in machines}
            for machine in machines:
                await asyncio.to_thread(Log(tmp_path, machine.key).wait_for, 1)

    asyncio.run(run())


def test_what_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    external = tmp_path / "external.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}"]
    subprocess.run([*argv, str(external), "1M"], check=True)
    base = bootable(tmp_path / "base-flat.vmdk")
    refused: dict[str, dict[str, object]] = {
        "cannot be read": {"disks": (a_disk(tmp_path / "none"),)},
        "is not a delta disk": {"disks": (a_disk(tmp_path / "text", base),)},
        "keeps its data in another file": {"disks": (a_disk(external, base),)},
        "folder of the serial port": {
            "serial_ports": (SerialPort(key=9000, file=tmp_path / "none/log"),)
        },
        "exit code 1.*\n.*command line: ": {"nics": (a_nic(1), a_nic(1))},
    }
    (tmp_path / "text").write_text("x" * 100)

    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            for words, changes in refused.items():
                with pytest.raises(HypervisorError, match=words):
                    await hypervisor.power_on(counting("vm-1", tmp_path, **changes))
                assert await hypervisor.running() == frozenset()
                left = {file.name for file in (tmp_path / "run/guests").rglob("*")}
                assert left <= {"vm-1", "qemu.log"}
            await hypervisor.power_on(counting("vm-1", tmp_path))
            with pytest.raises(HypervisorError, match="cannot be a machine's key"):
                await hypervisor.power_on(replace(counting("vm-2", tmp_path), key="../vm-2"))

    asyncio.run(run())


def test_a_cancelled_start_leaves_no_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            for delay_s in (0.0, 0.02, 0.05, 0.1):
                starting = asyncio.create_task(hypervisor.power_on(counting("vm-1", tmp_path)))
                await asyncio.sleep(delay_s)
                starting.cancel()
                with suppress(asyncio.CancelledError):
                    await starting
                    await hypervisor.power_off("vm-1")
                assert await hypervisor.running() == frozenset()
                assert not (tmp_path / "run/guests/vm-1/process").exists()

    asyncio.run(run())


def test_without_qemu_only_starting_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            with pytest.raises(HypervisorMissing, match="apt-get install qemu-system-x86"):
                await hypervisor.power_on(counting("vm-1", tmp_path))
            await hypervisor.power_off("vm-1")
            assert await hypervisor.running() == frozenset()

    asyncio.run(run())
