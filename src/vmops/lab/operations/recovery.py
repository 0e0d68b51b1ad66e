"""What a lab that died left half done is ended at the start of the next; see `journal`.

First, while no machine has been read, snapshots: one that is in a machine's .vmx file and not in
its list is taken back, or completed where a guest has written to its layers since. Then, with all
machines known, files that none of them names.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from pyVmomi import vmodl

from vmops.lab.kernel.fault_text import message
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.first_class_disks import kept_disks
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshots.disks import all_disk_files
from vmops.lab.machine.snapshots.list_file import list_file, read_list
from vmops.lab.operations import properties
from vmops.lab.operations.journal import Note, data_files, journal
from vmops.lab.operations.snapshots import remove
from vmops.lab.operations.snapshots.merge import show_need
from vmops.lab.storage.chains import load_link
from vmops.lab.storage.consolidating import children
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.layers import RunKind
from vmops.lab.storage.locks import is_in_use
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

log = logging.getLogger(__name__)

_OF_SNAPSHOTS = {"snapshotData", "snapshotMemory"}


async def settle_snapshots(kernel: Kernel) -> None:
    """Take back or complete snapshots that were being taken; before machines are read."""
    volumes = kernel.service(DiskStore).volumes
    for note in journal(kernel).left().values():
        if note.get("snapshot"):
            try:
                await kernel.blocking(_settle, volumes, note)
            except (StorageError, OSError, ValueError):
                log.exception("a snapshot of %s stays half done", note["snapshot"][0])


def _settle(volumes: Volumes, note: Note) -> None:
    text, uid, before, after = note["snapshot"]
    vmx = DatastorePath.parse(text)
    if any(each.uid == int(uid) for each in read_list(volumes, vmx).listed):
        return
    if volumes.resolve(vmx).read_bytes() == before.encode():
        return
    is_written = any(_is_written(volumes, DatastorePath.parse(disk)) for disk in note["disks"])
    log.warning("a snapshot of %s is %s", vmx, "completed" if is_written else "taken back")
    file, content = (list_file(vmx), after) if is_written else (vmx, before)
    with volumes.open_for_write(file) as stream:
        stream.write(content.encode())


def _is_written(volumes: Volumes, layer: DatastorePath) -> bool:
    """Whether a guest has a layer, or has had it and written to it."""
    try:
        link = load_link(volumes, layer)
        if is_in_use(link.data_file):
            return True
        opened = link.open(locked=False)
    except StorageError:  # it is not there, or not whole: nobody can have used it
        return False
    try:
        runs = opened.runs(0, link.capacity_bytes)
        return any(run.kind is not RunKind.BELOW for run in runs)
    finally:
        opened.close()


async def end_unfinished(kernel: Kernel) -> None:
    """Delete what was noted and no machine has; all machines must have been read."""
    left = journal(kernel).left()
    if not left:
        return
    for note in left.values():
        if note.get("temporary"):
            await _remove_temporary(kernel, note)
    machines = kernel.registry.all(Machine)
    if not all(vm.is_accessible for vm in machines):
        log.warning("what an earlier run left stays until the files of all machines can be read")
        return
    needed = {path for vm in machines for path in _files_of(vm)}
    for file, note in left.items():
        await kernel.blocking(_end, kernel.service(DiskStore), note, needed)
        file.unlink(missing_ok=True)
    for vm in machines:
        await show_need(vm)
        await properties.refresh_files(vm)


async def _remove_temporary(kernel: Kernel, note: Note) -> None:
    text, uid = note["temporary"]
    for vm in kernel.registry.all(Machine):
        if vm.vmx_path == text:
            known = frozenset(each.uid for each in vm.snapshots.snapshots)
            try:
                async with vm.lock:
                    await remove.remove(
                        vm, known & {int(uid)}, merge_disks=True, progress=lambda _: None
                    )
            except vmodl.MethodFault as fault:
                log.warning("%s keeps a snapshot of its cloning: %s", vm.name, message(fault))


def _files_of(vm: Machine) -> set[DatastorePath]:
    needed = {vm.vmx, list_file(vm.vmx)}
    for disk in all_disk_files(vm):
        needed |= {disk, *data_files(disk)}
    for snapshot in vm.snapshots.snapshots:
        needed |= {path for path in (snapshot.data, snapshot.memory) if path is not None}
    return needed | {file.path for file in vm.files if file.type not in _OF_SNAPSHOTS}


def _end(store: DiskStore, note: Note, needed: set[DatastorePath]) -> None:
    moved = _parsed(note, "moved")
    for source, target in zip(moved[::2], moved[1::2], strict=True):
        # Until the new one is whole nothing is taken from the old one.
        gone = target if _is_whole(store.volumes, source) else source
        if not {source, target} & needed:
            _delete_disk(store.volumes, gone)
    disks = [path for path in _parsed(note, "disks") if path not in needed]
    kept = kept_disks(store, disks)
    for path in disks:
        if path not in kept:
            _delete_disk(store.volumes, path)
    files = [path for path in _parsed(note, "files") if path not in needed]
    folders = []
    for path in files:
        with suppress(StorageError, OSError):
            file = store.volumes.resolve(path)
            if file.is_dir():
                folders.append(file)
            else:
                _delete(file)
    # One in another comes after it.
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()


def _is_whole(volumes: Volumes, disk: DatastorePath) -> bool:
    try:
        link = load_link(volumes, disk)
    except StorageError:
        return False
    return link.data_file.exists()


def _delete_disk(volumes: Volumes, path: DatastorePath) -> None:
    with suppress(StorageError, OSError):
        parts = [volumes.resolve(each) for each in (*data_files(path), path)]
        if children(volumes, path) or any(map(is_in_use, parts)):
            log.warning("%s stays: somebody has it", path)
            return
        for part in parts:
            _delete(part)


def _delete(file: Path) -> None:
    if file.exists():
        log.warning("%s is left of what did not come to its end, and goes", file.name)
        file.unlink(missing_ok=True)


def _parsed(note: Note, kind: str) -> list[DatastorePath]:
    found = []
    for text in note.get(kind, ()):
        with suppress(ValueError):
            path = DatastorePath.parse(text)
            if path.path:
                found.append(path)
    return found
