"""The .vmsd file: which snapshots a virtual machine has, beside its .vmx file.

The keys are those of VMware's own files as far as they go. Configurations are in the .vmsn files,
in the form of .vmx files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vmops.lab.machine.snapshot_tree import Snapshot, SnapshotTree
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.vmx_text import LARGEST, Entries, read_text, render_text
from vmops.lab.storage.volumes import Volumes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES = {"poweredOn", "poweredOff", "suspended"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSnapshot:
    """What the file says of one snapshot; see `Snapshot` for the fields."""

    uid: int
    parent: int | None
    name: str
    description: str
    created: datetime
    power_state: str
    quiesced: bool
    data: DatastorePath
    memory: DatastorePath | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotList:
    """What the file says."""

    listed: tuple[ListedSnapshot, ...]
    current: int | None
    last_uid: int


def list_file(vmx: DatastorePath) -> DatastorePath:
    """Return where the list of a machine's snapshots lies."""
    return vmx.sibling(f"{vmx.name.rpartition('.')[0]}.vmsd")


def data_file(vmx: DatastorePath, uid: int) -> DatastorePath:
    """Return where the configuration of a snapshot lies."""
    return vmx.sibling(f"{vmx.name.rpartition('.')[0]}-Snapshot{uid}.vmsn")


def memory_file(vmx: DatastorePath, uid: int) -> DatastorePath:
    """Return where the guest's memory of a snapshot lies."""
    return vmx.sibling(f"{vmx.name.rpartition('.')[0]}-Snapshot{uid}.vmem")


def write_list(volumes: Volumes, vmx: DatastorePath, tree: SnapshotTree) -> None:
    """Write a tree to its file, as a whole or not at all. Blocking.

    Raises:
        StorageError, OSError: it cannot be written; the old file is as it was.
    """
    with volumes.open_for_write(list_file(vmx)) as file:
        file.write(list_text(tree).encode())


def list_text(tree: SnapshotTree) -> str:
    """Return what the file of a tree says."""
    entries = Entries({".encoding": "UTF-8", "snapshot.lastUID": str(tree.last_uid)})
    entries["snapshot.numSnapshots"] = str(len(tree.snapshots))
    if tree.current is not None:
        entries["snapshot.current"] = str(tree.current)
    for number, snapshot in enumerate(tree.snapshots):
        for key, value in _written(snapshot):
            entries[f"snapshot{number}.{key}"] = value
    return render_text(entries)


def _written(snapshot: Snapshot) -> Iterable[tuple[str, str]]:
    microseconds = (snapshot.created - _EPOCH) // timedelta(microseconds=1)
    yield "uid", str(snapshot.uid)
    yield "filename", snapshot.data.name
    if snapshot.memory is not None:
        yield "memoryFilename", snapshot.memory.name
    if snapshot.parent is not None:
        yield "parent", str(snapshot.parent)
    yield "displayName", snapshot.name
    yield "description", snapshot.description
    yield "createTimeHigh", str(microseconds >> 32)
    yield "createTimeLow", str(microseconds & 0xFFFFFFFF)
    yield "powerState", snapshot.power_state
    yield "quiesced", "TRUE" if snapshot.quiesced else "FALSE"


def read_list(volumes: Volumes, vmx: DatastorePath) -> SnapshotList:
    """Read the list beside a .vmx file; an empty one where there is no file. Blocking.

    Entries that make no sense are left out.

    Raises:
        StorageError, OSError: it cannot be read.
    """
    try:
        with volumes.resolve(list_file(vmx)).open("rb") as stream:
            content = stream.read(LARGEST)
    except FileNotFoundError:
        return SnapshotList(listed=(), current=None, last_uid=0)
    entries = read_text(content.decode("utf-8", errors="replace"))
    found = []
    for number in range(entries.take_int("snapshot.numSnapshots") or 0):
        own = Entries(entries.take_prefixed(f"snapshot{number}."))
        listed = _read(own, vmx) if own else None
        if listed is not None:
            found.append(listed)
    last = max([entries.take_int("snapshot.lastUID") or 0, *(each.uid for each in found)])
    return SnapshotList(
        listed=tuple(found), current=entries.take_int("snapshot.current"), last_uid=last
    )


def _read(own: Entries, vmx: DatastorePath) -> ListedSnapshot | None:
    uid, state = own.take_int("uid"), own.take("powerState") or "poweredOff"
    if uid is None or uid < 1 or state not in _STATES:
        return None
    microseconds = (own.take_int("createTimeHigh") or 0) << 32
    microseconds |= (own.take_int("createTimeLow") or 0) & 0xFFFFFFFF
    # The names follow from the machine's: those in the file could name anybody's files.
    has_memory = own.take("memoryFilename") is not None
    return ListedSnapshot(
        uid=uid,
        parent=own.take_int("parent"),
        name=own.take("displayName") or f"Snapshot {uid}",
        description=own.take("description") or "",
        created=_EPOCH + timedelta(microseconds=microseconds),
        power_state=state,
        quiesced=own.take_bool("quiesced"),
        data=data_file(vmx, uid),
        memory=memory_file(vmx, uid) if has_memory else None,
    )
