"""Machines for tests of the hypervisors, and a guest of one sector that counts."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmops.lab.hypervisor.port import Controller, Disk, DiskLayer, GuestDefinition, Nic, SerialPort
from vmops.lab.qemu import QemuHypervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Real mode, at 0x7c00. Starts at 0 and at each of the BIOS's ticks (18.2 a second) adds one and
# prints it to COM1 and the screen, "T" and eight digits: a guest's memory as one number.
#
#   start: cli; xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00; xor esi,esi; sti
#          mov ax,3; int 0x10
#   tick:  hlt; mov ax,[0x46c]; cmp ax,[last]; je tick; mov [last],ax; inc esi
#          mov al,'T'; call put; mov edi,esi; mov cx,8
#   digit: rol edi,4; mov ax,di; and al,15; add al,'0'; cmp al,'9'; jbe 1f; add al,7
#   1:     call put; loop digit; mov al,10; call put; jmp tick
#   put:   mov bl,al; mov dx,0x3fd
#   2:     in al,dx; test al,0x20; jz 2b; mov dx,0x3f8; mov al,bl; out dx,al
#          mov ah,0x0e; mov bx,7; int 0x10; ret
#   last:  dw 0
COUNTER = bytes.fromhex(
    "fa31c08ed88ed0bc007c6631f6fbb80300cd10f4a16c043b06617c74f6a3617c6646b054e822006689f7b90800"
    "66c1c70489f8240f04303c3976020407e80900e2ebb00ae80200ebca88c3bafd03eca82074fbbaf80388d8eeb4"
    "0ebb0700cd10c30000"
)
PVSCSI = Controller(key=1000, bus_number=0, model="ParaVirtualSCSIController")


def bootable(file: Path) -> Path:
    """Write a disk of 1 MiB that boots the counter."""
    file.write_bytes(COUNTER.ljust(510, b"\0") + b"\x55\xaa" + bytes(1024 * 1024 - 512))
    return file


def a_disk(*files: Path, key: int = 2000, controller_key: int = 1000, unit: int = 0) -> Disk:
    """Return a disk of these layers, top first; the last is raw."""
    layers = tuple(
        DiskLayer(file=file, file_format="raw" if file is files[-1] else "qcow2") for file in files
    )
    return Disk(
        key=key,
        layers=layers,
        controller_key=controller_key,
        unit_number=unit,
        serial=f"6000c29{key:025}",
    )


def a_nic(number: int, segment: str = "VM Network", model: str = "VirtualVmxnet3") -> Nic:
    return Nic(
        key=4000 + number,
        model=model,  # type: ignore[arg-type]
        mac_address=f"00:50:56:00:00:{number:02x}",
        segment=segment,
    )


def a_machine(key: str = "vm-1", **changes: Any) -> GuestDefinition:
    """Return a machine of 16 MiB without any device, but for the changes."""
    plain = GuestDefinition(
        key=key,
        name=f"name of {key}",
        bios_uuid="4205a1b2-c3d4-e5f6-0718-293a4b5c6d7e",
        cpus=1,
        cores_per_socket=1,
        memory_mib=16,
        firmware="bios",
        controllers=(),
        disks=(),
        nics=(),
        cdroms=(),
        serial_ports=(),
        boot_order=(),
        extra_config={},
    )
    return replace(plain, **changes)


def counting(key: str, folder: Path, **changes: object) -> GuestDefinition:
    """Return a machine that boots the counter and prints to ``<folder>/<key>.log``."""
    disk = folder / f"{key}-flat.vmdk"
    if not disk.exists():
        bootable(disk)
    devices: dict[str, object] = {
        "controllers": (PVSCSI,),
        "disks": (a_disk(disk),),
        "serial_ports": (SerialPort(key=9000, file=folder / f"{key}.log"),),
    }
    return a_machine(key, **(devices | changes))


class Log:
    """What a counting guest has printed."""

    def __init__(self, folder: Path, key: str) -> None:
        self.file = folder / f"{key}.log"

    def counts(self) -> list[int]:
        text = self.file.read_text(errors="replace") if self.file.exists() else ""
        return [int(line[1:], 16) for line in text.split("\n")[:-1] if line.startswith("T")]

    def wait_for(self, more: int = 1, *, seconds: float = 60.0) -> list[int]:
        """Wait for so many more lines, and return all."""
        wanted = len(self.counts()) + more
        deadline = time.monotonic() + seconds
        while len(counts := self.counts()) < wanted:
            assert time.monotonic() < deadline, f"the guest printed only {counts[-5:]}"
            time.sleep(0.02)
        return counts


@asynccontextmanager
async def a_hypervisor(
    run_dir: Path, stopped: list[str] | None = None
) -> AsyncIterator[QemuHypervisor]:
    """Start a hypervisor, which finds guests of an earlier one, and end all guests afterwards."""
    hypervisor = QemuHypervisor(run_dir)
    await hypervisor.start((stopped if stopped is not None else []).append)
    try:
        yield hypervisor
    finally:
        await hypervisor.stop(keep_guests=False)
