"""What is done to guests while they run: seen through their own output and their disks."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.lab.qemu.machines import PVSCSI, Log, a_disk, a_hypervisor, a_nic, counting
from tests.lab.qemu.test_guest import pid_of
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Controller, DiskLayer, Segment

pytestmark = pytest.mark.guest

NET = Segment(name="VM Network", nat=False)
MIB = 1024 * 1024


def delta(file: Path, size: int = MIB) -> DiskLayer:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(file), str(size)]
    subprocess.run(argv, check=True)
    return DiskLayer(file=file, file_format="qcow2")


def blank(file: Path, size: int = MIB) -> DiskLayer:
    file.write_bytes(b"")
    with file.open("r+b") as stream:
        stream.truncate(size)
    return DiskLayer(file=file, file_format="raw")


def open_files(run_dir: Path, key: str) -> set[str]:
    """The disks' files that QEMU has open."""
    targets = [str(link.readlink()) for link in Path(f"/proc/{pid_of(run_dir, key)}/fd").iterdir()]
    return {Path(target).name for target in targets if target.endswith(".vmdk")}


def test_a_guest_moves_without_losing_a_tick(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        stopped: list[str] = []
        shown: list[int] = []
        machine = counting("vm-1", tmp_path, nics=(a_nic(0),), segments=(NET,))
        log = Log(tmp_path, "vm-1")
        async with a_hypervisor(run_dir, stopped) as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(log.wait_for, 10)
            for _ in range(2):
                moved = await hypervisor.migrate("vm-1", machine, shown.append)
                print(moved)  # noqa: T201 - a figure for those who run it
                assert 0 < moved.downtime_ms <= moved.total_ms
                assert moved.transferred_bytes > 1000
                await asyncio.to_thread(log.wait_for, 10)
            assert await hypervisor.running() == {"vm-1"}
            await hypervisor.reset("vm-1")
        counts = log.counts()
        before_reset = counts[: counts.index(1, 1)] if 1 in counts[1:] else counts
        assert before_reset == list(range(1, len(before_reset) + 1))
        assert len(before_reset) >= 30
        assert stopped == []
        assert shown[-1] == 100
        assert [file.name for file in (run_dir / "guests").iterdir()] == ["vm-1"]

    asyncio.run(run())


def test_layers_come_and_go_under_a_running_guest(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir, memory = tmp_path / "run", tmp_path / "memory"
        machine = counting("vm-1", tmp_path)
        base = tmp_path / "vm-1-flat.vmdk"
        log = Log(tmp_path, "vm-1")
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(log.wait_for, 2)
            tops = [delta(tmp_path / f"{number}-delta.vmdk") for number in range(3)]
            await hypervisor.snapshot_disks("vm-1", {2000: tops[0]})
            await hypervisor.snapshot_disks("vm-1", {2000: tops[1]}, memory)
            await asyncio.to_thread(log.wait_for, 5)
            await hypervisor.snapshot_disks("vm-1", {2000: tops[2]})
            assert "2-delta.vmdk" in open_files(run_dir, "vm-1")
            await hypervisor.collapse("vm-1", 2000, tops[1].file, tops[0].file)
            assert "1-delta.vmdk" not in open_files(run_dir, "vm-1")
            await hypervisor.collapse("vm-1", 2000, tops[2].file, base)
            assert not {f"{n}-delta.vmdk" for n in range(3)} & open_files(run_dir, "vm-1")
            await asyncio.to_thread(log.wait_for, 5)
        counts = log.counts()
        assert counts == list(range(1, len(counts) + 1))

    asyncio.run(run())


def test_a_disk_moves_and_others_are_plugged(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        machine = counting("vm-1", tmp_path)
        log = Log(tmp_path, "vm-1")
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(log.wait_for, 2)
            target = blank(tmp_path / "target-flat.vmdk")
            shown: list[int] = []
            await hypervisor.mirror_disk("vm-1", 2000, (target,), shown.append)
            assert shown[-1] == 100
            assert "vm-1-flat.vmdk" not in open_files(run_dir, "vm-1")
            assert target.file.read_bytes() == (tmp_path / "vm-1-flat.vmdk").read_bytes()
            blank(tmp_path / "second-flat.vmdk")
            second = a_disk(tmp_path / "second-flat.vmdk", key=2001, unit=1)
            await hypervisor.attach_disk("vm-1", second, PVSCSI)
            with pytest.raises(HypervisorError, match="has a disk 2001 already"):
                await hypervisor.attach_disk("vm-1", second, PVSCSI)
            await hypervisor.extend_disk("vm-1", 2001, 2 * MIB)
            assert (tmp_path / "second-flat.vmdk").stat().st_size == 2 * MIB
            print(await hypervisor.statistics("vm-1"))  # noqa: T201
            await hypervisor.detach_disk("vm-1", 2001)
            assert "second-flat.vmdk" not in open_files(run_dir, "vm-1")
            lsi = Controller(key=1001, bus_number=1, model="VirtualLsiLogicController")
            third = a_disk(tmp_path / "second-flat.vmdk", key=2016, controller_key=1001)
            await hypervisor.attach_disk("vm-1", third, lsi)
            await hypervisor.attach_nic("vm-1", a_nic(1), NET)
            await hypervisor.set_link("vm-1", 4001, connected=False)
            await asyncio.to_thread(log.wait_for, 5)
        counts = log.counts()
        assert counts == list(range(1, len(counts) + 1))

    asyncio.run(run())
