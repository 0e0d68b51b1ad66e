"""A Linux guest that goes through everything while it runs, told what to do on its serial line."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tests.guests.plain_qemu import BOOT_SECONDS, linux_guest, unpack
from tests.lab.qemu.machines import PVSCSI, a_disk, a_hypervisor, a_machine, a_nic
from vmops.lab.guest import PASSWORD, USER
from vmops.lab.hypervisor.port import (
    Cdrom,
    Controller,
    DiskLayer,
    GuestDefinition,
    NetworkSerialPort,
    Segment,
)
from vmops.lab.qemu import QemuHypervisor
from vmops.lab.storage import qcow2

pytestmark = pytest.mark.guest

MIB = 1024 * 1024
NET = Segment(name="VM Network", nat=True)
IDE = Controller(key=200, bus_number=0, model="VirtualIDEController")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Shell:
    """The far end of a serial line, where root logs in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._text = ""

    @classmethod
    async def open(cls, port: int) -> Shell:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def wait_for(self, pattern: str, *, seconds: float = BOOT_SECONDS) -> re.Match[str]:
        try:
            async with asyncio.timeout(seconds):
                while (found := re.search(pattern, self._text)) is None:
                    data = await self._reader.read(4096)
                    assert data, f"the line ended after:\n{self._text}"
                    self._text += data.decode(errors="replace")
        except TimeoutError:
            raise AssertionError(f"no {pattern!r}, but:\n{self._text}") from None
        self._text = self._text[found.end() :]
        return found

    def type(self, line: str) -> None:
        self._writer.write(line.encode() + b"\n")

    async def log_in(self) -> None:
        await self.wait_for("login: ?")
        self.type(USER)
        await self.wait_for("Password: ?")
        self.type(PASSWORD)
        await self.wait_for("root@vmops-guest:~# ")

    async def run(self, command: str) -> str:
        # What others print on the line meanwhile is not to be taken for the command's output.
        self.type(f"{{ {command}; }} > /run/out 2>&1; echo be''gin; cat /run/out; echo e''nd")
        await self.wait_for(r"begin\r*\n", seconds=60)
        output = (await self.wait_for(r"(?s)(.*?)end\r*\n", seconds=60)).group(1)
        lines = output.replace("\r", "").splitlines()
        return "\n".join(line for line in lines if not line.startswith("vmops-guest:")).strip()

    def close(self) -> None:
        self._writer.close()


def delta(file: Path, size: int) -> DiskLayer:
    with file.open("xb") as stream:
        qcow2.create_empty(stream.fileno(), size)
    return DiskLayer(file=file, file_format="qcow2")


async def booted(hypervisor: QemuHypervisor, folder: Path) -> tuple[GuestDefinition, Shell]:
    root = unpack(linux_guest(), folder / "root-flat.vmdk")
    port = free_port()
    machine = a_machine(
        memory_mib=128,
        controllers=(PVSCSI, IDE),
        disks=(a_disk(root),),
        cdroms=(Cdrom(key=3000, controller_key=200, unit_number=0, image=None),),
        nics=(a_nic(0),),
        segments=(NET,),
        serial_ports=(NetworkSerialPort(key=9000, direction="server", port=port, telnet=False),),
    )
    await hypervisor.power_on(machine)
    shell = await Shell.open(port)
    await shell.log_in()
    return machine, shell


async def the_drive_changes(
    hypervisor: QemuHypervisor, drive: Cdrom, shell: Shell, folder: Path
) -> None:
    image = folder / "disc.iso"
    image.write_bytes(b"on a disc".ljust(MIB, b"\0"))
    read = "for n in 1 2 3 4 5; do head -c 9 /dev/sr0 && break; sleep 0.3; done"
    await hypervisor.change_cdrom("vm-1", replace(drive, image=image))
    assert (await shell.run(read)).endswith("on a disc")
    await hypervisor.change_cdrom("vm-1", drive)
    assert "on a disc" not in await shell.run(read)


async def the_counters_count(hypervisor: QemuHypervisor, shell: Shell) -> None:
    before = await hypervisor.statistics("vm-1")
    await shell.run("dd if=/dev/zero of=/file bs=1M count=3 conv=fsync 2> /dev/null")
    after = await hypervisor.statistics("vm-1")
    written = after.disks[2000].written_bytes - before.disks[2000].written_bytes
    assert 3 * MIB <= written < 6 * MIB
    assert after.disks[2000].writes > before.disks[2000].writes
    assert after.cpu_time_ns > before.cpu_time_ns
    assert after.resident_bytes > 64 * MIB
    assert set(after.nics) == {4000, 4001}


def test_devices_come_and_go_and_the_guest_sees_them(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            machine, shell = await booted(hypervisor, tmp_path)
            data = tmp_path / "data-flat.vmdk"
            data.write_bytes(b"data on a plugged disk".ljust(4 * MIB, b"\0"))
            disk = a_disk(data, key=2001, unit=1)
            await hypervisor.attach_disk("vm-1", disk, PVSCSI)
            appears = "until test -b /dev/sdb; do sleep 0.1; done"
            assert await shell.run(f"{appears}; head -c 22 /dev/sdb") == "data on a plugged disk"
            await hypervisor.extend_disk("vm-1", 2001, 6 * MIB)
            grown = "echo 1 > /sys/block/sdb/device/rescan; cat /sys/block/sdb/size"
            assert await shell.run(grown) == str(6 * MIB // 512)
            await shell.run("echo written > /dev/sdb; sync")
            await hypervisor.detach_disk("vm-1", 2001)
            assert data.read_bytes().startswith(b"written\n")
            assert await shell.run("sleep 0.3; ls /sys/block | grep -c sd") == "1"

            await hypervisor.attach_nic("vm-1", a_nic(1), NET)
            find = f"grep -ls {a_nic(1).mac_address} /sys/class/net/*/address"
            await shell.run(f"until {find}; do sleep 0.1; done; card=$(dirname $({find}))")
            await shell.run("ip link set $(basename $card) up; sleep 0.2")
            assert await shell.run("cat $card/carrier") == "1"
            await hypervisor.set_link("vm-1", 4001, connected=False)
            assert await shell.run("sleep 0.3; cat $card/carrier") == "0"
            await hypervisor.detach_nic("vm-1", 4001)
            assert await shell.run(f"{find} || echo gone") == "gone"
            await hypervisor.attach_nic("vm-1", a_nic(1), NET)
            await hypervisor.attach_disk("vm-1", disk, PVSCSI)
            plugged = replace(machine, disks=(*machine.disks, disk), nics=(*machine.nics, a_nic(1)))
            await shell.run(f"until {find}; do sleep 0.1; done")
            assert await shell.run(f"{appears}; head -c 7 /dev/sdb") == "written"
            reach = "until ip addr | grep -q 'inet 10.0.2.'; do sleep 0.1; done; ping -c 2 10.0.2.2"
            await shell.run(reach)
            await hypervisor.migrate("vm-1", plugged)
            assert await shell.run(f"{find} > /run/card; head -c 7 /dev/sdb") == "written"
            assert "2 packets received" in await shell.run(reach)

            await the_drive_changes(hypervisor, machine.cdroms[0], shell, tmp_path)
            await the_counters_count(hypervisor, shell)
            shell.close()

    asyncio.run(run())


def test_a_disk_keeps_its_content_through_snapshots_moves_and_revert(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            machine, shell = await booted(hypervisor, tmp_path)
            (disk,) = machine.disks
            size = disk.layers[0].file.stat().st_size
            first, second = (delta(tmp_path / f"{n}-delta.vmdk", size) for n in (1, 2))
            memory = tmp_path / "memory.vmsn"
            await shell.run("echo before > /file; sync; word=kept")
            await hypervisor.snapshot_disks("vm-1", {2000: first}, memory)
            frozen = hashlib.sha256(disk.layers[0].file.read_bytes()).hexdigest()
            assert await shell.run("echo after > /file; sync; word=lost; cat /file") == "after"
            assert hashlib.sha256(disk.layers[0].file.read_bytes()).hexdigest() == frozen

            # Back to the snapshot: its memory, on its layers under a new one.
            shell.close()
            await hypervisor.power_off("vm-1")
            reverted = replace(machine, disks=(replace(disk, layers=(second, *disk.layers)),))
            await hypervisor.resume(reverted, memory)
            (port,) = machine.serial_ports
            assert isinstance(port, NetworkSerialPort)
            shell = await Shell.open(port.port)
            assert await shell.run("echo $word; cat /file") == "kept\nbefore"

            # Onto other files, onto another QEMU, and the chain away, while the guest writes.
            shell.type("(while true; do date > /busy; sync; done) &")
            target = tmp_path / "moved-flat.vmdk"
            with target.open("xb") as file:
                file.truncate(size)
            moved = DiskLayer(file=target, file_format="raw")
            await hypervisor.mirror_disk("vm-1", 2000, (moved,))
            third, fourth = (delta(tmp_path / f"{n}-delta.vmdk", size) for n in (3, 4))
            await hypervisor.snapshot_disks("vm-1", {2000: third})
            await hypervisor.snapshot_disks("vm-1", {2000: fourth})
            await shell.run("cp /etc/motd /motd")
            layers = (fourth, third, moved)
            there = replace(machine, disks=(replace(disk, layers=layers),))
            shell.type(
                "mount -t tmpfs none /mnt; dd if=/dev/urandom of=/mnt/a bs=64k count=64;"
                "(while cp /mnt/a /mnt/b && cmp /mnt/a /mnt/b; do mv /mnt/b /mnt/a; done;"
                " touch /run/broken) &"
            )
            for _ in range(4):
                # A guest that writes all over its memory meanwhile must find it all again.
                moved_in = await hypervisor.migrate("vm-1", there)
                print("busy Linux guest:", moved_in)  # noqa: T201 - a figure to read
                assert await shell.run("test -e /run/broken; echo $?") == "1"
            assert await shell.run("echo $word; cat /file") == "kept\nbefore"
            await hypervisor.collapse("vm-1", 2000, third.file, target)
            await hypervisor.collapse("vm-1", 2000, fourth.file, target)
            await shell.run(
                "kill %1 %2; wait 2> /dev/null; sync; echo 3 > /proc/sys/vm/drop_caches"
            )
            await shell.run("mount -o remount,ro /")
            seen = await shell.run("sha256sum /dev/sda")
            assert hashlib.sha256(target.read_bytes()).hexdigest() in seen
            assert await shell.run("cmp /etc/motd /motd && cat /var/lib/boots") == "1"
            shell.close()

    asyncio.run(run())
