"""What fails or is cut off while a guest runs leaves it running as it was."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.qemu.machines import PVSCSI, Log, a_disk, a_hypervisor, a_nic, counting
from tests.lab.qemu.test_guest import end_all, pid_of, until
from tests.lab.qemu.test_live import NET, blank, delta, open_files
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Controller, DiskLayer
from vmops.lab.qemu.process import ProcessIdentity

pytestmark = pytest.mark.guest


async def goes_on(log: Log) -> None:
    """The guest prints, and has not lost or repeated a count since its start."""
    counts = await asyncio.to_thread(log.wait_for, 5)
    assert counts == list(range(1, len(counts) + 1))


def processes_of(run_dir: Path) -> list[str]:
    return sorted(record.parent.name for record in (run_dir / "guests").glob("*/process"))


def test_a_guest_that_cannot_move_runs_on(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        log = Log(tmp_path, "vm-1")
        machine = counting("vm-1", tmp_path, nics=(a_nic(0),), segments=(NET,))
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            await goes_on(log)
            # Another machine at the other end: QEMU itself finds out in the middle.
            less = replace(machine, nics=())
            with pytest.raises(HypervisorError, match=r"did not go on|cannot be moved"):
                await hypervisor.migrate("vm-1", less)
            await goes_on(log)
            missing = replace(machine, disks=(a_disk(tmp_path / "none"),))
            with pytest.raises(HypervisorError, match="cannot be read"):
                await hypervisor.migrate("vm-1", missing)
            with pytest.raises(HypervisorError, match="cannot become"):
                await hypervisor.migrate("vm-1", replace(machine, key="vm-2"))
            with pytest.raises(HypervisorError, match="does not run"):
                await hypervisor.migrate("vm-2", replace(machine, key="vm-2"))
            await goes_on(log)
            assert processes_of(run_dir) == ["vm-1"]
            await hypervisor.migrate("vm-1", machine)
            await goes_on(log)

    asyncio.run(run())


def test_a_move_whose_new_end_dies_leaves_the_guest(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        log = Log(tmp_path, "vm-1")
        machine = counting("vm-1", tmp_path)
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            await goes_on(log)
            moving = asyncio.create_task(hypervisor.migrate("vm-1", machine))
            record = run_dir / "guests/vm-1.incoming/process"
            await until(record.exists)
            identity = ProcessIdentity.load(record)
            assert identity is not None
            os.kill(identity.pid, signal.SIGKILL)
            with pytest.raises(HypervisorError):
                await moving
            await goes_on(log)
            assert processes_of(run_dir) == ["vm-1"]

    asyncio.run(run())


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.13, 0.2])
def test_a_cancelled_move_leaves_one_guest(tmp_path: Path, delay_s: float) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        log = Log(tmp_path, "vm-1")
        machine = counting("vm-1", tmp_path)
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            moving = asyncio.create_task(hypervisor.migrate("vm-1", machine))
            await asyncio.sleep(delay_s)
            moving.cancel()
            with suppress(asyncio.CancelledError):
                await moving
            await goes_on(log)
            assert processes_of(run_dir) == ["vm-1"]
            assert await hypervisor.running() == {"vm-1"}

    asyncio.run(run())


def test_power_off_wins_over_a_move(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        machine = counting("vm-1", tmp_path)
        async with a_hypervisor(run_dir) as hypervisor:
            for delay_s in (0.0, 0.1, 0.15):
                await hypervisor.power_on(machine)
                moving = asyncio.create_task(hypervisor.migrate("vm-1", machine))
                await asyncio.sleep(delay_s)
                await hypervisor.power_off("vm-1")
                with suppress(HypervisorError):
                    await moving
                await hypervisor.power_off("vm-1")
                assert await hypervisor.running() == frozenset()
                assert processes_of(run_dir) == []

    asyncio.run(run())


@pytest.mark.parametrize("where", ["launch", "mark_arrived", "bring_home"])
def test_a_lab_killed_in_a_move_leaves_one_guest(tmp_path: Path, where: str) -> None:
    """Killed with the new end waiting, with the guest just arrived, and while it settles in."""
    script = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from tests.lab.qemu.machines import Log, a_hypervisor, counting
        from vmops.lab.qemu import hypervisor, migration
        async def run():
            folder, where = Path(sys.argv[1]), sys.argv[2]
            async with a_hypervisor(folder / "run") as lab:
                machine = counting("vm-1", folder)
                await lab.power_on(machine)
                Log(folder, "vm-1").wait_for(5)
                if where == "launch":
                    async def die(*_arguments):
                        os.kill(os.getpid(), 9)
                    migration.Move._send = die
                else:
                    def die(*_arguments):
                        os.kill(os.getpid(), 9)
                    setattr(hypervisor, where, die)
                await lab.migrate("vm-1", machine)
        asyncio.run(run())
        """
    )

    async def run() -> None:
        run_dir = tmp_path / "run"
        log = Log(tmp_path, "vm-1")
        async with a_hypervisor(run_dir) as hypervisor:
            assert await hypervisor.running() == {"vm-1"}
            await goes_on(log)
            assert [file.name for file in (run_dir / "guests").iterdir()] == ["vm-1"]
            await hypervisor.migrate("vm-1", counting("vm-1", tmp_path))
            await goes_on(log)

    try:
        argv = [sys.executable, "-c", script, str(tmp_path), where]
        assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
        asyncio.run(run())
    finally:
        asyncio.run(end_all(tmp_path / "run"))


def test_a_snapshot_that_fails_leaves_the_layers(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir, memory = tmp_path / "run", tmp_path / "memory"
        log = Log(tmp_path, "vm-1")
        blank(tmp_path / "second-flat.vmdk")
        second = a_disk(tmp_path / "second-flat.vmdk", key=2001, unit=1)
        first = a_disk(tmp_path / "vm-1-flat.vmdk")
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(counting("vm-1", tmp_path, disks=(first, second)))
            await goes_on(log)
            held = open_files(run_dir, "vm-1")
            tops = {key: delta(tmp_path / f"{key}-delta.vmdk") for key in (2000, 2001)}
            wrong = {**tops, 2001: delta(tmp_path / "wrong-delta.vmdk", 2 * 1024 * 1024)}
            text = tmp_path / "text"
            text.write_text("x" * 100)
            not_one = DiskLayer(file=text, file_format="qcow2")
            for refused, words in (
                ({**tops, 2001: not_one}, "is not a delta disk"),
                ({**tops, 2002: wrong[2001]}, "no disk 2002"),
                ({2000: tops[2000], 2001: tops[2000]}, "lock"),
            ):
                with pytest.raises(HypervisorError, match=words):
                    await hypervisor.snapshot_disks("vm-1", refused)
                assert open_files(run_dir, "vm-1") == held
            with pytest.raises(HypervisorError, match="File exists"):
                await hypervisor.snapshot_disks("vm-1", tops, text)
            assert text.read_text() == "x" * 100
            # No room for the memory: found out when the disks have their new layers already.
            pid = pid_of(run_dir, "vm-1")
            limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (256 * 1024, limits[1]))
            with pytest.raises(HypervisorError, match="cannot be written"):
                await hypervisor.snapshot_disks("vm-1", tops, memory)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            assert not memory.exists()
            assert open_files(run_dir, "vm-1") == held
            await goes_on(log)
            await hypervisor.snapshot_disks("vm-1", tops, memory)
            assert memory.exists()
            await goes_on(log)

    asyncio.run(run())


def test_a_disk_that_cannot_move_or_shrink_stays(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        log = Log(tmp_path, "vm-1")
        machine = counting("vm-1", tmp_path)
        base = machine.disks[0].layers[0]
        top = delta(tmp_path / "top-delta.vmdk")
        clone_top = delta(tmp_path / "clone-delta.vmdk")
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            held = open_files(run_dir, "vm-1")
            small = blank(tmp_path / "small-flat.vmdk", 512 * 1024)
            with pytest.raises(HypervisorError, match="size"):
                await hypervisor.mirror_disk("vm-1", 2000, (small,))
            gone = DiskLayer(file=tmp_path / "none", file_format="raw")
            with pytest.raises(HypervisorError, match="cannot be read"):
                await hypervisor.mirror_disk("vm-1", 2000, (gone,))
            with pytest.raises(HypervisorError, match="has no disk 2009"):
                await hypervisor.mirror_disk("vm-1", 2009, (blank(tmp_path / "other"),))
            target = blank(tmp_path / "target-flat.vmdk")
            mirroring = asyncio.create_task(hypervisor.mirror_disk("vm-1", 2000, (target,)))
            await asyncio.sleep(0)  # begun, and not done yet
            mirroring.cancel()
            with suppress(asyncio.CancelledError):
                await mirroring
            assert open_files(run_dir, "vm-1") == held
            # Someone else's parent takes nothing in.
            await hypervisor.snapshot_disks("vm-1", {2000: top})
            clone = (replace(a_disk(base.file), layers=(clone_top, base)),)
            await hypervisor.power_on(counting("vm-2", tmp_path, disks=clone))
            with pytest.raises(HypervisorError, match="lock"):
                await hypervisor.collapse("vm-1", 2000, top.file, base.file)
            with pytest.raises(HypervisorError, match="is not a layer"):
                await hypervisor.collapse("vm-1", 2000, clone_top.file, base.file)
            await goes_on(log)
            await hypervisor.power_off("vm-2")
            await hypervisor.collapse("vm-1", 2000, top.file, base.file)
            assert open_files(run_dir, "vm-1") == held

    asyncio.run(run())


def test_what_cannot_be_plugged_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        run_dir = tmp_path / "run"
        ide = Controller(key=200, bus_number=0, model="VirtualIDEController")
        machine = counting("vm-1", tmp_path, controllers=(PVSCSI, ide))
        other = blank(tmp_path / "other-flat.vmdk").file
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            held = open_files(run_dir, "vm-1")
            for disk, controller, words in (
                (a_disk(other, key=3001, controller_key=200), ide, "cannot be plugged on"),
                (a_disk(other, key=2000), PVSCSI, "has a disk 2000 already"),
                (a_disk(other, key=2001, unit=0), PVSCSI, "QEMU refused"),
                (a_disk(other, key=2001, unit=64), PVSCSI, "units 0 to 63"),
                (a_disk(tmp_path / "vm-1-flat.vmdk", key=2001, unit=1), PVSCSI, "lock"),
            ):
                with pytest.raises(HypervisorError, match=words):
                    await hypervisor.attach_disk("vm-1", disk, controller)
                assert open_files(run_dir, "vm-1") == held
            with pytest.raises(HypervisorError, match="no disk 2001"):
                await hypervisor.detach_disk("vm-1", 2001)
            with pytest.raises(HypervisorError, match="no network card 4000"):
                await hypervisor.detach_nic("vm-1", 4000)
            await hypervisor.attach_nic("vm-1", a_nic(0), NET)
            with pytest.raises(HypervisorError, match="has a network card 4000 already"):
                await hypervisor.attach_nic("vm-1", a_nic(0), NET)

    asyncio.run(run())


def test_one_thing_at_a_time(tmp_path: Path) -> None:
    async def run() -> None:
        machine = counting("vm-1", tmp_path)
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(machine)
            moving = asyncio.create_task(hypervisor.migrate("vm-1", machine))
            await asyncio.sleep(0)
            with pytest.raises(HypervisorError, match="vm-1 is being migrated already"):
                await hypervisor.suspend("vm-1", tmp_path / "memory")
            await moving

    asyncio.run(run())
