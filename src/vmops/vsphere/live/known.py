"""What a server has, as it was told last: objects with their values, and who is known by what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmops.vsphere.live.kinds import BUILDERS, Kind
from vmops.vsphere.live.properties import Values
from vmops.vsphere.wire.moref import Moref, moid

_VM = "VirtualMachine"


class Table:
    """The objects of one kind that is asked for, and their records as far as they were made."""

    def __init__(self) -> None:
        self.morefs: dict[str, Moref] = {}
        self.records: dict[str, Any] = {}


class Known:
    """All objects that were told of, by moid; whoever uses it holds a lock."""

    def __init__(self) -> None:
        self.values: dict[str, Values] = {}
        self.tables = {kind: Table() for kind in BUILDERS}
        self.by_uuid: dict[str, list[str]] = {}

    def change(self, kind: Kind, moref: Moref, told: Values, unset: Iterable[str] = ()) -> None:
        """An object has these values from now on, and those paths have none."""
        name = moid(moref)
        values = self.values.setdefault(name, {})
        before = values.get("config.instanceUuid")
        values.update(told)
        for path in unset:
            # That of a VM whose files cannot be read any more is still what it is known by.
            if path != "config.instanceUuid":
                values.pop(path, None)
        table = self.tables.get(kind.wire_type)
        if table is not None:
            table.morefs[name] = moref
        if kind.wire_type == _VM:
            self._index(name, before, values.get("config.instanceUuid"))
            self.tables[_VM].records.pop(name, None)
        else:
            self._forget_records()

    def leave(self, kind: Kind, name: str) -> None:
        """An object is gone."""
        values = self.values.pop(name, {})
        table = self.tables.get(kind.wire_type)
        if table is not None:
            table.morefs.pop(name, None)
        if kind.wire_type == _VM:
            self._index(name, values.get("config.instanceUuid"), None)
            self.tables[_VM].records.pop(name, None)
        else:
            self._forget_records()

    def _index(self, name: str, before: str | None, after: str | None) -> None:
        if before == after:
            return
        if before and name in self.by_uuid.get(before.lower(), ()):
            self.by_uuid[before.lower()].remove(name)
        if after:
            self.by_uuid.setdefault(after.lower(), []).append(name)

    def _forget_records(self) -> None:
        """Drop the records of all but VMs: they are few, and tell of each other."""
        for kind, table in self.tables.items():
            if kind != _VM:
                table.records.clear()
