"""The note of a resize: what must be known to finish it, to confirm it or to take it back.

It is in the VM's ``extraConfig`` from before the first change until the last, so that any process
can go on where another one stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from vmops.model.datastore_path import DatastorePath
from vmops.model.size import Size
from vmops.specs import extra_config

_SUFFIX = "-resized"


class Phase(StrEnum):
    """How far it is. Each change of size and disk sets the next one in the same call."""

    PREPARING = "preparing"
    """Size and disk are the old ones; the VM may be off or elsewhere, a grown copy may be there."""
    RESIZED = "resized"
    """Size and disk are the new ones, the old disk is kept."""
    REVERTING = "reverting"
    """Size and disk are the old ones again; the VM may be off or elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeNote:
    """See above. ``original`` and what follows are those of the root disk, if it is replaced."""

    phase: Phase
    old: Size
    new: Size
    root_bytes: int
    """The capacity that the root disk is to have; 0 if it stays as it is."""
    dest: str
    """Where it is to go, as it was asked for; "" if it stays."""
    moves: bool
    """Whether it goes elsewhere; it may be there already."""
    was_on: bool
    host: str
    pool: str
    datastore: str
    """Where it was: two moids, and the name of the root disk's datastore."""
    original: str = ""
    original_bytes: int = 0
    controller_key: int = 0
    unit_number: int = 0

    def at(self, phase: Phase) -> Self:
        """The same in another phase."""
        return replace(self, phase=phase)

    def asks_for_the_same_as(self, other: ResizeNote) -> bool:
        """Whether both are of resizes to the same size and place."""
        return (self.new, self.root_bytes, self.dest) == (other.new, other.root_bytes, other.dest)

    def dump(self) -> str:
        """As JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values.update(old=self.old.dump(), new=self.new.dump())
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """From JSON."""
        values = json.loads(text)
        return cls(
            **{
                **values,
                "phase": Phase(values["phase"]),
                "old": Size.load(values["old"]),
                "new": Size.load(values["new"]),
            }
        )


def find_note(settings: Mapping[str, str]) -> ResizeNote | None:
    """The note in a VM's ``extraConfig``; None if no resize is under way."""
    text = settings.get(extra_config.RESIZE)
    return ResizeNote.load(text) if text else None


def counterpart(root: DatastorePath) -> DatastorePath:
    """Where the grown copy of a root disk goes: beside it.

    The names take turns, so that a disk can be resized again and again.
    """
    stem = root.name.removesuffix(".vmdk")
    other = stem.removesuffix(_SUFFIX) if stem.endswith(_SUFFIX) else stem + _SUFFIX
    return root.parent.joined(f"{other}.vmdk")
