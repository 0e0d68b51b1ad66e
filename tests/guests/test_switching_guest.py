"""A Linux guest that writes to its disk while that is moved and merged again and again."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import pytest

from tests.guests.test_live_linux_guest import Shell, booted, delta
from vmops.lab.hypervisor.port import DiskLayer
from vmops.lab.qemu import QemuHypervisor

pytestmark = pytest.mark.guest

ROUNDS = 10
# Several at once, so that there are requests under way at every moment.
WRITERS = (
    "for n in 1 2 3; do (while true; do dd if=/dev/urandom of=/busy$n bs=16k count=8 conv=fsync"
    " 2> /dev/null; done) & done"
)


class Writing:
    """A guest's disk, whose lowest layer is ``file`` and has all there is."""

    def __init__(self, hypervisor: QemuHypervisor, file: Path) -> None:
        self._hypervisor = hypervisor
        self._size = file.stat().st_size
        self._made = 0
        self.file = file

    async def moves(self, *, cancelled_after: float | None = None) -> None:
        target = self._new()
        with target.open("xb") as file:
            file.truncate(self._size)
        layer = DiskLayer(file=target, file_format="raw")
        moving = asyncio.create_task(self._hypervisor.mirror_disk("vm-1", 2000, (layer,)))
        if cancelled_after is not None:
            await asyncio.wait([moving], timeout=cancelled_after)
            moving.cancel()
        with suppress(asyncio.CancelledError):
            await moving
            target, self.file = self.file, target
        target.unlink()

    async def merges(self) -> None:
        layers = [delta(self._new(), self._size) for _ in range(2)]
        for layer in layers:
            await self._hypervisor.snapshot_disks("vm-1", {2000: layer})
            await asyncio.sleep(0.1)  # for the guest to write to it
        for layer in layers:  # the first from under the other, and then what it writes to
            await self._hypervisor.collapse("vm-1", 2000, layer.file, self.file)
            layer.file.unlink()

    def _new(self) -> Path:
        self._made += 1
        return self.file.with_name(f"layer-{self._made}.vmdk")


async def written(hypervisor: QemuHypervisor) -> int:
    return (await hypervisor.statistics("vm-1")).disks[2000].written_bytes


async def settled(shell: Shell) -> str:
    """Return the digest of the disk as the guest sees it, which writes no more."""
    await shell.run("kill %1 %2 %3; wait 2> /dev/null; sync; echo 3 > /proc/sys/vm/drop_caches")
    assert await shell.run("dmesg | grep -ciE 'i/o error|oops'") == "0"
    await shell.run("mount -o remount,ro /")
    return (await shell.run("sha256sum /dev/sda")).split()[0]


def test_a_guest_that_writes_all_the_time_survives_every_switch(tmp_path: Path) -> None:
    async def run() -> None:
        stopped: list[str] = []
        hypervisor = QemuHypervisor(tmp_path / "run")
        await hypervisor.start(stopped.append)
        try:
            machine, shell = await booted(hypervisor, tmp_path)
            shell.type(WRITERS)
            disk = Writing(hypervisor, machine.disks[0].layers[0].file)
            for number in range(ROUNDS):
                before = await written(hypervisor)
                await disk.moves()
                await disk.merges()
                await disk.moves(cancelled_after=0.01 * number)
                assert stopped == []
                async with asyncio.timeout(30):  # it goes on after each
                    while await written(hypervisor) == before:
                        await asyncio.sleep(0.02)
            assert await settled(shell) == hashlib.sha256(disk.file.read_bytes()).hexdigest()
            shell.close()
        finally:
            await hypervisor.stop(keep_guests=False)

    asyncio.run(run())
