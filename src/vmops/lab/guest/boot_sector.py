"""A guest of one sector: it boots in an instant, counts its boots on disk and its ticks in memory.

It runs in the processor's 16-bit mode on nothing but the BIOS, so any controller the BIOS boots
from will do, and 16 MB of memory (a plain PC needs that much for its firmware's tables).

On the screen and on the first serial port (115200 baud, 8N1), lines ending in CR LF:

    vmops boot sector
    boot N          N: how often this disk was booted, kept in the disk's second sector
    tick N          N: periods of the BIOS clock since this boot, from 1; the screen shows the
                    latest one, the serial port each

``disk error`` takes the place of ``boot N`` where the second sector cannot be read or written,
and ends the guest there. It has no ACPI: pressing its power button does nothing.

Disk: sector 0 is the boot record, sector 1 holds the counter (32 bits, little endian, first four
bytes) and is the start of one partition of type 0xDA (no file system) over the rest.
"""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

from vmops.lab.guest.conversion import DiskFormat, convert_raw
from vmops.lab.guest.disk import MIB, SECTOR_BYTES, Partition, boot_record
from vmops.lab.guest.machine_code import Code

BANNER = "vmops boot sector"
TICKS_PER_SECOND = 18
"""The BIOS clock runs at 18.2 Hz."""

_ORIGIN = 0x7C00
_NO_FILE_SYSTEM = 0xDA


def boot_sector_disk(*, size_mib: int = 1, period: int = TICKS_PER_SECOND) -> bytes:
    """Return the raw disk.

    Args:
        size_mib: its capacity.
        period: ticks of the BIOS clock between two ``tick`` lines, 1 to 255.

    Raises:
        ValueError: an argument is out of its range.
    """
    if size_mib < 1:
        raise ValueError("a disk has at least 1 MiB")
    size = size_mib * MIB
    rest = Partition(_NO_FILE_SYSTEM, 1, size // SECTOR_BYTES - 1)
    return boot_record(_program(period), 0x564D4253, [rest]).ljust(size, b"\0")


def build_boot_sector_guest(
    output: Path,
    *,
    format: DiskFormat = "streamOptimized",  # noqa: A002 - the word of the field
    size_mib: int = 1,
    period: int = TICKS_PER_SECOND,
) -> Path:
    """Write the guest as a disk image and return ``output``; see `boot_sector_disk`.

    Raises:
        ValueError: an argument is out of its range.
        BuildFailed: the image could not be converted.
    """
    disk = boot_sector_disk(size_mib=size_mib, period=period)
    with TemporaryDirectory(dir=output.parent, prefix=".boot-sector-") as folder:
        raw = Path(folder) / "disk.raw"
        raw.write_bytes(disk)
        convert_raw(raw, output, format)
    return output


def boot_count(disk: bytes) -> int:
    """How often a raw disk of this guest was booted."""
    return int(struct.unpack_from("<I", disk, SECTOR_BYTES)[0])


def _program(period: int) -> bytes:
    """The code, at most 440 bytes. Variables live behind the sector that is read to 0x7E00."""
    if not 1 <= period <= 255:
        raise ValueError(f"period {period}: 1 to 255 ticks of the BIOS clock")
    code = Code(_ORIGIN)
    _start(code)
    _count_boot(code)
    _count_ticks(code, period)
    _disk_routine(code)
    _print_routines(code)
    code.label("banner")
    code.data(BANNER.encode() + b"\r\n\0")
    code.label("boot")
    code.data(b"boot \0")
    code.label("tick")
    code.data(b"tick \0")
    code.label("error")
    code.data(b"disk error\r\n\0")
    return code.assemble()


def _start(code: Code) -> None:
    code.op("FA", "cli")
    code.op("31 C0", "xor ax, ax")
    code.op("8E D8", "mov ds, ax")
    code.op("8E C0", "mov es, ax")
    code.op("8E D0", "mov ss, ax")
    code.op("BC 00 7C", "mov sp, 0x7c00")
    code.op("FB", "sti")
    code.op("FC", "cld")
    code.op("88 16 00 80", "mov [0x8000], dl      ; the drive the BIOS booted from")
    # The serial port: a divisor of 1 is 115200 baud.
    code.op("BA FB 03", "mov dx, 0x3fb         ; line control")
    code.op("B0 83", "mov al, 0x83          ; 8N1, divisor open")
    code.op("EE", "out dx, al")
    code.op("BA F8 03", "mov dx, 0x3f8")
    code.op("B8 01 00", "mov ax, 1")
    code.op("EF", "out dx, ax            ; divisor, low and high byte")
    code.op("BA FB 03", "mov dx, 0x3fb")
    code.op("B0 03", "mov al, 0x03          ; 8N1, divisor closed")
    code.op("EE", "out dx, al")
    code.op("B8 03 00", "mov ax, 0x0003        ; text, 80x25, cleared")
    code.op("CD 10", "int 0x10")
    code.address("BE", "banner")  # mov si, banner
    code.near("E8", "print")  # call print


def _count_boot(code: Code) -> None:
    code.op("B8 01 02", "mov ax, 0x0201        ; read one sector")
    code.near("E8", "disk")  # call disk
    code.op("66 FF 06 00 7E", "inc dword [0x7e00]")
    code.op("B8 01 03", "mov ax, 0x0301        ; write it back")
    code.near("E8", "disk")  # call disk
    code.address("BE", "boot")  # mov si, boot
    code.near("E8", "print")  # call print
    code.op("66 A1 00 7E", "mov eax, [0x7e00]")
    code.near("E8", "number")  # call number


def _count_ticks(code: Code, period: int) -> None:
    code.op("66 31 C0", "xor eax, eax")
    code.op("66 A3 04 80", "mov [0x8004], eax     ; lines so far")
    code.op("A1 6C 04", "mov ax, [0x046c]      ; the BIOS clock")
    code.op("A3 02 80", "mov [0x8002], ax      ; as it was last seen")
    code.label("line")
    code.op(f"C6 06 08 80 {period:02X}", "mov byte [0x8008], period")
    code.label("wait")
    code.op("F4", "hlt                   ; until the next interrupt")
    # Changes are counted, not differences taken: the clock starts again at midnight.
    code.op("A1 6C 04", "mov ax, [0x046c]")
    code.op("3B 06 02 80", "cmp ax, [0x8002]")
    code.short("74", "wait")  # je wait: it was another interrupt
    code.op("A3 02 80", "mov [0x8002], ax")
    code.op("FE 0E 08 80", "dec byte [0x8008]")
    code.short("75", "wait")  # jnz wait
    code.op("66 FF 06 04 80", "inc dword [0x8004]")
    # Back to the third line of the screen, over the number before.
    code.op("B4 02", "mov ah, 0x02          ; set the cursor")
    code.op("B7 00", "mov bh, 0")
    code.op("BA 00 02", "mov dx, 0x0200        ; row 2, column 0")
    code.op("CD 10", "int 0x10")
    code.address("BE", "tick")  # mov si, tick
    code.near("E8", "print")  # call print
    code.op("66 A1 04 80", "mov eax, [0x8004]")
    code.near("E8", "number")  # call number
    code.short("EB", "line")  # jmp line


def _disk_routine(code: Code) -> None:
    # disk: function AX on the second sector of the boot drive, buffer 0x7e00.
    code.label("disk")
    code.op("BB 00 7E", "mov bx, 0x7e00")
    code.op("B9 02 00", "mov cx, 2             ; cylinder 0, sector 2")
    code.op("B6 00", "mov dh, 0             ; head 0")
    code.op("8A 16 00 80", "mov dl, [0x8000]")
    code.op("CD 13", "int 0x13")
    code.short("72", "failed")  # jc failed
    code.op("C3", "ret")
    code.label("failed")
    code.address("BE", "error")  # mov si, error
    code.near("E8", "print")  # call print
    code.label("halt")
    code.op("F4", "hlt")
    code.short("EB", "halt")  # jmp halt


def _print_routines(code: Code) -> None:
    # print: the text at SI up to its zero byte.
    code.label("print")
    code.op("AC", "lodsb")
    code.op("84 C0", "test al, al")
    code.short("74", "printed")  # jz printed
    code.near("E8", "put")  # call put
    code.short("EB", "print")  # jmp print
    code.label("printed")
    code.op("C3", "ret")
    # number: EAX in decimal, then a new line.
    code.label("number")
    code.op("66 BB 0A 00 00 00", "mov ebx, 10")
    code.op("31 C9", "xor cx, cx")
    code.label("divide")
    code.op("66 31 D2", "xor edx, edx")
    code.op("66 F7 F3", "div ebx")
    code.op("52", "push dx               ; the last digit first")
    code.op("41", "inc cx")
    code.op("66 85 C0", "test eax, eax")
    code.short("75", "divide")  # jnz divide
    code.label("digits")
    code.op("58", "pop ax")
    code.op("04 30", "add al, '0'")
    code.near("E8", "put")  # call put
    code.short("E2", "digits")  # loop digits
    code.op("B0 0D", "mov al, 13")
    code.near("E8", "put")  # call put
    code.op("B0 0A", "mov al, 10")
    # Falls through: the line feed is put too.
    # put: AL on the screen and on the serial port; keeps CX and SI.
    code.label("put")
    code.op("50", "push ax")
    code.op("51", "push cx")
    code.op("56", "push si")
    code.op("B4 0E", "mov ah, 0x0e          ; teletype output")
    code.op("BB 07 00", "mov bx, 0x0007        ; page 0, grey")
    code.op("CD 10", "int 0x10")
    code.op("5E", "pop si")
    code.op("59", "pop cx")
    code.op("BA FD 03", "mov dx, 0x3fd         ; line status; reads 0xff where no port is")
    code.label("busy")
    code.op("EC", "in al, dx")
    code.op("A8 20", "test al, 0x20         ; room for a byte")
    code.short("74", "busy")  # jz busy
    code.op("BA F8 03", "mov dx, 0x3f8")
    code.op("58", "pop ax")
    code.op("EE", "out dx, al")
    code.op("C3", "ret")
