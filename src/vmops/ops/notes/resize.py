"""The note of a resize: what must be known to finish it, to confirm it or to take it back.

It is in the VM's ``extraConfig`` from before the first change until the last, so that any process
can go on where another one stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.size import Size
from vmops.vsphere.objects.virtual_machine import VirtualMachine

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
class ExtraSizes:
    """The sizes of the ephemeral disks, in order, and of the swap disk; 0 is none."""

    ephemerals_gib: tuple[int, ...] = ()
    swap_mib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """An ephemeral or swap disk that is kept, and the new one in its place.

    Paths; "" where there was none, or where none comes. The place is the old one's.
    """

    old: str = ""
    old_bytes: int = 0
    controller_key: int = 0
    unit_number: int = 0
    new: str = ""


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
    wanted: ExtraSizes = ExtraSizes()
    """The flavor's ephemeral and swap disk."""
    extras: ExtraSizes = ExtraSizes()
    """Those that it has now."""
    exchanged: tuple[Exchanged, ...] = ()
    free: tuple[str, ...] = ()
    """Paths of new ephemeral and swap disks where nothing was when the resize began."""
    old_facts: dict[str, str] = field(default_factory=dict)
    """What the VM's notes said of the flavor."""

    @property
    def kept_disks(self) -> tuple[str, ...]:
        """The disks that are not needed any more once this is confirmed."""
        return tuple(d for d in (self.original, *(e.old for e in self.exchanged)) if d)

    @property
    def new_disks(self) -> tuple[str, ...]:
        """The ephemeral and swap disks that are not needed any more once this is reverted."""
        return tuple(each.new for each in self.exchanged if each.new)

    def at(self, phase: Phase) -> Self:
        """The same in another phase."""
        return replace(self, phase=phase)

    def asks_for_the_same_as(self, other: ResizeNote) -> bool:
        """Whether both are of resizes to the same size and place."""
        return (self.new, self.root_bytes, self.dest, self.wanted) == (
            other.new,
            other.root_bytes,
            other.dest,
            other.wanted,
        )

    def dump(self) -> str:
        """The text that stands in ``extraConfig``."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values.update(
            old=self.old.dump(),
            new=self.new.dump(),
            wanted=asdict(self.wanted),
            extras=asdict(self.extras),
            exchanged=[asdict(each) for each in self.exchanged],
        )
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """The note that such a text holds."""
        values = json.loads(text)
        return cls(
            **{
                **values,
                "phase": Phase(values["phase"]),
                "old": Size.load(values["old"]),
                "new": Size.load(values["new"]),
                "wanted": _sizes(values.get("wanted", {})),
                "extras": _sizes(values.get("extras", {})),
                "exchanged": tuple(Exchanged(**each) for each in values.get("exchanged", ())),
                "free": tuple(values.get("free", ())),
            }
        )


def _sizes(values: Mapping[str, Any]) -> ExtraSizes:
    return ExtraSizes(
        ephemerals_gib=tuple(values.get("ephemerals_gib", ())), swap_mib=values.get("swap_mib", 0)
    )


def replaced_disks(settings: Mapping[str, str]) -> tuple[str, ...]:
    """The disks that a confirmed resize has replaced and that may still be there."""
    text = settings.get(extra_config.REPLACED_DISKS)
    return tuple(json.loads(text)) if text else ()


def note_replaced(disks: Iterable[str]) -> dict[str, str]:
    """The setting that `replaced_disks` reads; of no disks, what takes it away."""
    found = list(disks)
    return {extra_config.REPLACED_DISKS: json.dumps(found) if found else ""}


def find_note(settings: Mapping[str, str]) -> ResizeNote | None:
    """The note in a VM's ``extraConfig``; None if no resize is under way."""
    text = settings.get(extra_config.RESIZE)
    return ResizeNote.load(text) if text else None


def known_note(vm: VirtualMachine) -> tuple[ResizeNote | None, str]:
    """The note and the change version that go together, as the live inventory has them.

    They cost no call, and may be a moment older than the last change. (None, "") if none is known.
    """
    known = vm.known()
    if known is None or not known.change_version:
        return None, ""
    return find_note(known.settings), known.change_version


def counterpart(root: DatastorePath) -> DatastorePath:
    """Where the grown copy of a root disk goes: beside it.

    The names take turns, so that a disk can be resized again and again.
    """
    stem = root.name.removesuffix(".vmdk")
    other = stem.removesuffix(_SUFFIX) if stem.endswith(_SUFFIX) else stem + _SUFFIX
    return root.parent.joined(f"{other}.vmdk")


def numbered(disk: DatastorePath, number: int) -> DatastorePath:
    """Another name for a disk, whose counterpart is found as that of its own name; 0 is its own."""
    if not number:
        return disk
    stem = disk.name.removesuffix(".vmdk")
    plain = stem.removesuffix(_SUFFIX)
    return disk.parent.joined(f"{plain}_{number}{stem[len(plain) :]}.vmdk")
