"""The file a suspended guest's memory is kept in.

A header of one page, then QEMU's migration stream. The header names the machine type, because a
stream can only be read back by the very machine it came from, also after QEMU was upgraded; and it
gets its end mark only when the stream is complete.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.qemu.argv.growth_state import Growth

_HEADER_BYTES = 4096
_KIND = "vmops lab memory of a QEMU guest"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryHeader:
    """What a memory file says of itself. ``machine_type`` is such as "pc-i440fx-7.2"."""

    machine_type: str
    qemu_version: str
    growth: Growth | None = None
    """None in files of a time when guests could not grow."""
    has_seed: bool = False
    """Whether the guest has a disc for cloud-init."""


def create(file: Path) -> int:
    """Return the descriptor of a new memory file, placed where the stream begins.

    Raises:
        HypervisorError: the file cannot be created, or exists.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HypervisorError(f"no memory file can be written: {error}") from error
    # Until `finish` the header is zeros, which `open_stream` refuses.
    os.lseek(descriptor, _HEADER_BYTES, os.SEEK_SET)
    return descriptor


def finish(descriptor: int, header: MemoryHeader) -> None:
    """Mark the stream complete and force everything to the disk. Blocks.

    Raises:
        HypervisorError: the disk is full or broken.
    """
    fields = {
        "kind": _KIND,
        "machine_type": header.machine_type,
        "qemu_version": header.qemu_version,
        "growth": None if header.growth is None else header.growth.as_json(),
        "has_seed": header.has_seed,
        "bytes": os.fstat(descriptor).st_size,
    }
    try:
        os.pwrite(descriptor, json.dumps(fields).encode().ljust(_HEADER_BYTES, b"\0"), 0)
        os.fsync(descriptor)
    except OSError as error:
        raise HypervisorError(f"the memory file cannot be written: {error}") from error


def open_stream(file: Path) -> tuple[int, MemoryHeader]:
    """Return the descriptor of a memory file, placed where the stream begins, and its header.

    Raises:
        HypervisorError: there is no such file, or it is not a complete memory file.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HypervisorError(f"the guest's memory cannot be read: {error}") from error
    try:
        fields = json.loads(os.read(descriptor, _HEADER_BYTES).rstrip(b"\0"))
        if fields["kind"] != _KIND or fields["bytes"] != os.fstat(descriptor).st_size:
            raise ValueError("another kind of file, or cut short")  # noqa: TRY301 - one way out
        growth = fields.get("growth")
        header = MemoryHeader(
            machine_type=str(fields["machine_type"]),
            qemu_version=str(fields["qemu_version"]),
            has_seed=bool(fields.get("has_seed")),
            growth=None if growth is None else Growth.from_json(growth),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        os.close(descriptor)
        raise HypervisorError(f"{file.name} is not the memory of a QEMU guest: {error}") from error
    os.lseek(descriptor, _HEADER_BYTES, os.SEEK_SET)
    return descriptor, header
