"""Puts a bootable disk together: boot record, a FAT16 partition to boot from, an ext4 to live in.

    sector 0                 syslinux's boot code and the partition table
    1 MiB                    FAT16: syslinux, kernel, initramfs
    after it, MiB aligned    ext4, labelled vmops-root, to the end of the disk

Each partition is made as a file of its own by the tools made for it, then copied to its place.
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vmops.child_environment import tool_environment
from vmops.lab.guest.errors import BuildFailed

SECTOR_BYTES = 512
MIB = 1024 * 1024
ROOT_LABEL = "vmops-root"
FIRST_PARTITION_MIB = 1
_SECTORS_PER_MIB = MIB // SECTOR_BYTES
_BOOT_CODE_BYTES = 440
_FAT16 = 0x06
_LINUX = 0x83
# Beyond what cylinder, head and sector can say: such a disk is addressed by its block numbers.
_NO_CHS = b"\xfe\xff\xff"
_TOOL_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Partition:
    """An entry of the partition table; sizes in sectors of 512 bytes."""

    kind: int
    first_sector: int
    sectors: int
    active: bool = False

    def packed(self) -> bytes:
        """The 16 bytes of the entry."""
        head = struct.pack("<B3sB3s", 0x80 if self.active else 0, _NO_CHS, self.kind, _NO_CHS)
        return head + struct.pack("<II", self.first_sector, self.sectors)


def boot_record(code: bytes, signature: int, partitions: Sequence[Partition]) -> bytes:
    """The 512 bytes of a master boot record.

    Raises:
        ValueError: the code is longer than 440 bytes, or there are more than four partitions.
    """
    if len(code) > _BOOT_CODE_BYTES:
        raise ValueError(f"boot code of {len(code)} bytes; {_BOOT_CODE_BYTES} are free")
    if len(partitions) > 4:
        raise ValueError("a boot record holds four partitions")
    table = b"".join(partition.packed() for partition in partitions).ljust(64, b"\0")
    return (
        code.ljust(_BOOT_CODE_BYTES, b"\0") + struct.pack("<IH", signature, 0) + table + b"\x55\xaa"
    )


def make_boot_partition(
    target: Path, contents: Mapping[str, bytes], ldlinux: Path, environment: Mapping[str, str]
) -> int:
    """Write a FAT16 with the files in it, bootable by syslinux; return its size in MiB.

    The size follows the contents, with 2 MiB to spare.

    Args:
        target: the file to write.
        contents: name in the root folder (8.3) to content.
        ldlinux: syslinux's ``ldlinux.c32``.
        environment: in which mformat, mcopy and syslinux are found.

    Raises:
        BuildFailed: a tool failed.
    """
    size_mib = max(10, sum(map(len, contents.values())) // MIB + 3)
    with target.open("wb") as file:
        file.truncate(size_mib * MIB)
    tools = {**environment, "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull}
    _run(
        [
            *("mformat", "-i", str(target), "-T", str(size_mib * _SECTORS_PER_MIB)),
            *("-h", "16", "-s", "63", "-c", "4", "-N", "564d4f50", "-v", "VMOPS"),
            # Syslinux finds its own second stage by the sector its partition begins at.
            *("-H", str(FIRST_PARTITION_MIB * _SECTORS_PER_MIB), "::"),
        ],
        tools,
    )
    _run(["mcopy", "-i", str(target), str(ldlinux), "::ldlinux.c32"], tools)
    for name, content in contents.items():
        _run(["mcopy", "-i", str(target), "-", f"::{name}"], tools, content)
    _run(["syslinux", "--install", str(target)], tools)
    return size_mib


def make_root_partition(
    target: Path, tree: Path, size_mib: int, environment: Mapping[str, str]
) -> None:
    """Write an ext4 that holds a folder's content, all of it owned by root.

    Raises:
        BuildFailed: a tool failed, for example because the content does not fit.
    """
    with target.open("wb") as file:
        file.truncate(size_mib * MIB)
    _run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-m", "0", "-L", ROOT_LABEL),
            *("-E", "root_owner=0:0,lazy_itable_init=0,nodiscard", "-J", "size=2"),
            *("-d", str(tree), str(target)),
        ],
        environment,
    )
    if os.geteuid() != 0:
        _give_to_root(target, tree, environment)


def _give_to_root(target: Path, tree: Path, environment: Mapping[str, str]) -> None:
    """mke2fs copies owners too, and an unprivileged user owns all it has laid out."""
    names = ["/", *(f"/{path.relative_to(tree).as_posix()}" for path in tree.rglob("*"))]
    script = "".join(
        f'set_inode_field "{name}" {field} 0\n' for name in names for field in ("uid", "gid")
    )
    _run(["debugfs", "-w", "-f", "-", str(target)], environment, script.encode())


def assemble_disk(
    target: Path, size_mib: int, code: bytes, boot: tuple[Path, int], root: tuple[Path, int]
) -> None:
    """Write the raw disk from its boot code and its two partitions, each with its size in MiB.

    Blocks of zeros become holes of the file.
    """
    root_mib = FIRST_PARTITION_MIB + boot[1]
    partitions = [
        Partition(
            _FAT16, FIRST_PARTITION_MIB * _SECTORS_PER_MIB, boot[1] * _SECTORS_PER_MIB, active=True
        ),
        Partition(_LINUX, root_mib * _SECTORS_PER_MIB, root[1] * _SECTORS_PER_MIB),
    ]
    with target.open("wb") as disk:
        disk.truncate(size_mib * MIB)
        disk.write(boot_record(code, 0x564D4F50, partitions))
        _place(disk, FIRST_PARTITION_MIB * MIB, boot[0])
        _place(disk, root_mib * MIB, root[0])


def _place(disk: BinaryIO, offset: int, part: Path) -> None:
    block = 64 * 1024
    zeros = bytes(block)
    with part.open("rb") as source:
        while chunk := source.read(block):
            if chunk != zeros[: len(chunk)]:
                disk.seek(offset)
                disk.write(chunk)
            offset += len(chunk)


def _run(command: Sequence[str], environment: Mapping[str, str], data: bytes = b"") -> None:
    try:
        done = subprocess.run(
            list(command),
            env=tool_environment(**environment),
            input=data,
            capture_output=True,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
        raise BuildFailed(f"{command[0]} ended with {done.returncode}: {said}")
