"""The text of .vmx files: lines ``key = "value"``, case-insensitive keys, ``|22`` for a quote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping

from vmops.lab.storage.paths import DatastorePath

_LINE = re.compile(r'\s*([^\s=#"]+)\s*=\s*"(.*)"\s*$')
LARGEST = 1024 * 1024
"""Bytes; a .vmx file beyond this is not read."""


class Entries(MutableMapping[str, str]):
    """Entries in the order of the file; a key counts in any case and keeps the one it has."""

    def __init__(self, entries: Mapping[str, str] | None = None) -> None:
        self._entries: dict[str, tuple[str, str]] = {}
        self.update(entries or {})

    def __getitem__(self, key: str) -> str:
        return self._entries[key.lower()][1]

    def __setitem__(self, key: str, value: str) -> None:
        self._entries[key.lower()] = (key, value)

    def __delitem__(self, key: str) -> None:
        del self._entries[key.lower()]

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, key: str) -> str | None:
        """Remove an entry and return its value, None if there is none."""
        entry = self._entries.pop(key.lower(), None)
        return None if entry is None else entry[1]

    def take_bool(self, key: str, default: bool = False) -> bool:
        """Remove an entry that says TRUE or FALSE and return what it says."""
        text = self.take(key)
        return default if text is None else text.strip().upper() == "TRUE"

    def take_int(self, key: str) -> int | None:
        """Remove an entry that says a number and return it; None if it says none."""
        text = (self.take(key) or "").strip()
        return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None

    def take_prefixed(self, prefix: str) -> dict[str, str]:
        """Remove the entries whose keys begin with ``prefix``; return them without it."""
        found = [key for key in self if key.lower().startswith(prefix.lower())]
        return {key[len(prefix) :]: self.pop(key) for key in found}


def read_text(text: str) -> Entries:
    """Parse the content of a .vmx file; lines that are no entries are skipped."""
    entries = Entries()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is not None:
            entries[match.group(1)] = _unescaped(match.group(2))
    return entries


def render_text(entries: Mapping[str, str]) -> str:
    """Return the content of a .vmx file."""
    return "".join(f'{key} = "{_escaped(value)}"\n' for key, value in entries.items())


def _escaped(value: str) -> str:
    return "".join(
        f"|{ord(each):02X}" if each in '"|' or ord(each) < 32 or ord(each) == 127 else each
        for each in value.replace("\u2028", "\n").replace("\u2029", "\n").replace("\x85", "\n")
    )


def _unescaped(value: str) -> str:
    return re.sub(r"\|([0-9A-Fa-f]{2})", lambda match: chr(int(match.group(1), 16)), value)


def vmx_file_name(path: DatastorePath, folder: DatastorePath) -> str:
    """Return how a .vmx file in ``folder`` names a file: plainly if that is beside it."""
    return path.name if path.parent == folder else path.vmfs_form


def path_of(name: str, folder: DatastorePath) -> DatastorePath:
    """Return the file that a .vmx file in ``folder`` names.

    Raises:
        InvalidDatastorePath: the name leads out of the datastores.
    """
    if name.startswith("/"):
        return DatastorePath.parse_vmfs(name)
    return folder.joined(name)
