"""Writes the archive the Linux kernel unpacks as its first file system.

The format is "newc" of cpio(5), as the kernel's Documentation/driver-api/early-userspace
describes it: per entry a header of 110 ASCII bytes, the name, the content, each padded to four
bytes. Written here and not by cpio(1), because device nodes then need no privilege.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"
_HEADER_BYTES = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of the archive; ``name`` has no leading slash, ``mode`` includes the file type."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str, permissions: int = 0o755) -> Entry:
    """An entry for a folder."""
    return Entry(name=name, mode=stat.S_IFDIR | permissions)


def regular(name: str, content: bytes, permissions: int = 0o644) -> Entry:
    """An entry for a regular file."""
    return Entry(name=name, mode=stat.S_IFREG | permissions, content=content)


def symlink(name: str, target: str) -> Entry:
    """An entry for a symbolic link."""
    return Entry(name=name, mode=stat.S_IFLNK | 0o777, content=target.encode())


def character_device(name: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    """An entry for a character device."""
    return Entry(name=name, mode=stat.S_IFCHR | permissions, device=(major, minor))


def write_cpio(entries: list[Entry]) -> bytes:
    """Return the archive of the entries, in their order, all owned by root and dated 1970.

    Raises:
        ValueError: a name is absolute, empty, climbs out of the archive, or comes twice.
    """
    names = [entry.name for entry in entries]
    for name in names:
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"not a name for an archive: {name!r}")
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"twice in the archive: {', '.join(twice)}")
    parts = [_record(number, entry) for number, entry in enumerate(entries, start=1)]
    parts.append(_record(0, Entry(name=_TRAILER, mode=0)))
    return b"".join(parts)


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        inode,
        entry.mode,
        0,  # uid
        0,  # gid
        links,
        0,  # mtime
        len(entry.content),
        0,  # major and minor of the device the file is on
        0,
        *entry.device,
        len(name),
        0,  # checksum, unused in this variant
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name, _HEADER_BYTES + len(name)) + _padded(
        entry.content, len(entry.content)
    )


def _padded(data: bytes, length: int) -> bytes:
    return data + b"\0" * (-length % 4)
