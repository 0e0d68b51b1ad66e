"""Disks that EFI firmware boots: with a program that counts on the serial line, or with Linux."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_SECTION = 0x1000  # where the code comes to lie in memory
_HEADERS = 0x200

# 64 bit. RCX is the image, RDX the system table; prints as the counter of one sector does.
_PUT = bytes.fromhex("88c466bafd03eca82074fb88e066baf803eec3")  # AL to COM1
_START = bytes.fromhex(
    "53564883ec28"  # push rbx, rsi; 16-byte alignment and room for callees
    "488b7260"  # mov rsi, [rdx + 0x60]: boot services
    "31db"  # xor ebx, ebx
)


def _program() -> bytes:
    def call_put(code: bytearray) -> None:
        # put lies before the start, at 0.
        code += b"\xe8" + struct.pack("<i", -(len(code) + 5))

    code = bytearray(_PUT + _START)
    loop = len(code)
    code += bytes.fromhex("ffc3b054")  # inc ebx; mov al, 'T'
    call_put(code)
    code += bytes.fromhex("89dfb908000000")  # mov edi, ebx; mov ecx, 8
    digit = len(code)
    # rol edi, 4; its last four bits as a digit
    code += bytes.fromhex("c1c70489f8240f04303c3976020407")
    call_put(code)
    code += bytes.fromhex("ffc9") + b"\x75" + struct.pack("<b", digit - (len(code) + 4))
    code += bytes.fromhex("b00a")
    call_put(code)
    code += bytes.fromhex("b950c30000ff96f8000000")  # Stall(50 ms)
    code += b"\xe9" + struct.pack("<i", loop - (len(code) + 5))
    return bytes(code)


def efi_program() -> bytes:
    """A PE32+ image for x64, of one section, that needs no relocation."""
    code = _program()
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        0x20B, 0, 0, 0x200, 0, 0, _SECTION + len(_PUT), _SECTION, 0, 0x1000, 0x200,
        0, 0, 0, 0, 0, 0, 0, 0x2000, _HEADERS, 0, 10, 0, 0x1000, 0x1000, 0, 0, 0, 16,
    ).ljust(240, b"\0")  # fmt: skip
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", len(code), _SECTION, 0x200, _HEADERS, 0, 0, 0, 0, 0x60000020
    )
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    headers = dos + b"PE\0\0" + coff + optional + section
    return headers.ljust(_HEADERS, b"\0") + code.ljust(0x200, b"\0")


def efi_bootable(file: Path) -> Path:
    """Write a disk of 16 MiB, all FAT, with the program where firmware looks for one."""
    if shutil.which("mformat") is None:
        pytest.skip("no FAT without mtools (Debian: mtools)")
    with file.open("xb") as stream:
        stream.truncate(16 * 1024 * 1024)
    program = file.with_name("BOOTX64.EFI")
    program.write_bytes(efi_program())
    for command in (
        ["mformat", "-i", str(file), "-T", "32768", "::"],
        ["mmd", "-i", str(file), "::/EFI", "::/EFI/BOOT"],
        ["mcopy", "-i", str(file), str(program), "::/EFI/BOOT/BOOTX64.EFI"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return file


def linux_by_efi(disk: Path) -> Path:
    """Let EFI firmware start the lab's Linux from its raw disk, and nothing else.

    The shell, which firmware ends up in, runs the kernel, itself an EFI program, with what syslinux
    would tell it.
    """
    if shutil.which("mcopy") is None:
        pytest.skip("no FAT without mtools (Debian: mtools)")
    partition = f"{disk}@@1M"
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}

    def tool(*command: str, data: bytes = b"") -> bytes:
        done = subprocess.run(command, check=True, capture_output=True, input=data, env=environment)
        return done.stdout

    config = tool("mtype", "-i", partition, "::syslinux.cfg").decode()
    options = config.partition("APPEND initrd=initrd.gz ")[2].strip()
    script = f"fs0:\\linux.efi initrd=\\initrd.gz {options}\r\n"
    tool("mren", "-i", partition, "::vmlinuz", "::linux.efi")
    tool("mcopy", "-i", partition, "-", "::startup.nsh", data=script.encode())
    return disk
