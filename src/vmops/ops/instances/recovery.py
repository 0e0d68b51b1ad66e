"""Find what operations are at, and what those left whose process died, or whose server went away.

Six things tell of an operation: a VM marked as being spawned, an instance marked as being changed,
the VM of an image import, the snapshot of an instance whose image is being made, a temporary folder
in a datastore's image cache, and the file of an image that is being stored here. Each tells its
owner, and is judged by `vmops.in_flight`: what belongs to a living one is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from vmops import in_flight
from vmops.errors import FileNotFound, ManagedObjectNotFound
from vmops.images.directory_store import DirectoryImageStore
from vmops.images.filling import IMPORT_PREFIX
from vmops.images.folder_lease import FILLING, PREFIX, read_lease
from vmops.in_flight import Judgment, Mark, Verdict
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.identity import instance_of
from vmops.ops.engine.settings import EngineSettings
from vmops.ops.instances.leftovers import Leftover
from vmops.ops.instances.snapshot import SNAPSHOT_PREFIX
from vmops.vsphere.objects.recent_tasks import running_tasks
from vmops.vsphere.objects.snapshots import Snapshot
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

if TYPE_CHECKING:
    from vmops.specs.wire_types import SnapshotInfo

_INSTANCE = "config.instanceUuid"
_UUID = f'config.extraConfig["{extra_config.INSTANCE_UUID}"]'
_OPERATION = f'config.extraConfig["{extra_config.OPERATION}"]'
_WORKER = f'config.extraConfig["{extra_config.WORKER}"]'
_LOOKS = 20  # while one lease lasts


def find_leftovers(
    session: Session, settings: EngineSettings, images: DirectoryImageStore | None = None
) -> list[Leftover]:
    """What nobody is at any more, as far as can be said at once: VMs first, then folders, files."""
    return [each for each in find_work(session, settings, images) if each.is_left]


def find_work(
    session: Session,
    settings: EngineSettings,
    images: DirectoryImageStore | None = None,
    dead: str = "",
) -> list[Leftover]:
    """All that operations are at, or have left: VMs first, then folders, files.

    ``dead``: the owner that the caller knows to be dead.
    """
    folders = list(_folders(session, settings))
    machines = map(_without_tasks, _virtual_machines(session, folders))
    found = [*machines, *folders, *_files(images)]
    return [_declared(each, dead) for each in found] if dead else found


def watch_work(
    look: Callable[[], list[Leftover]], wait_s: float, *, all_of: bool
) -> list[Leftover]:
    """Look again and again until all is known that can be, or ``wait_s`` seconds after the first.

    With ``all_of`` that is also whether the operations of living processes go on.
    """
    end: float | None = None
    pending = {Verdict.UNKNOWN, Verdict.ALIVE, Verdict.OWN} if all_of else {Verdict.UNKNOWN}
    first: dict[tuple[str, str], str] = {}
    while True:
        began = time.monotonic()
        found = [_renewed(each, first) for each in look()]
        if not any(each.judgment.verdict in pending for each in found):
            return found
        now = time.monotonic()
        end = now + wait_s if end is None else end
        if wait_s <= 0 or began >= end:  # a look takes its time: the last one begins at the end
            return found
        time.sleep(min(max(end - now, 0.0), in_flight.TIMING.lease_s / _LOOKS))


def _renewed(one: Leftover, first: dict[tuple[str, str], str]) -> Leftover:
    """The same, known to be alive if its mark reads otherwise than when it was first looked at."""
    text = one.judgment.mark.text
    if first.setdefault((one.kind, one.name), text) == text or one.is_left:
        return one
    return replace(one, judgment=replace(one.judgment, verdict=Verdict.RENEWED))


def _without_tasks(one: Leftover) -> Leftover:
    """The same, known to be at work if its mark stands still because the server is at the VM."""
    if one.judgment.verdict is not Verdict.EXPIRED or one.vm is None:
        return one
    try:
        if not running_tasks(one.vm.session, one.vm.moref):
            return one
    except ManagedObjectNotFound:
        return one
    in_flight.see_alive(one.judgment.mark)
    return replace(one, judgment=replace(one.judgment, verdict=Verdict.WORKING))


def _declared(one: Leftover, dead: str) -> Leftover:
    if one.judgment.mark.owner != dead:
        return one
    return replace(one, judgment=replace(one.judgment, verdict=Verdict.DECLARED))


def _judge_name(name: str, prefix: str, operation: str, sign: str = "") -> Judgment | None:
    """What is known of the owner in a name that begins so; None if it tells none."""
    mark = (
        in_flight.named_mark(name, operation, sign=sign) if name.startswith(f"{prefix}-") else None
    )
    return None if mark is None else in_flight.judge(mark)


def _virtual_machines(session: Session, folders: list[Leftover]) -> Iterator[Leftover]:
    paths = ("name", "snapshot", _INSTANCE, _UUID, _OPERATION, _WORKER)
    for moref, found in session.properties.read_container("VirtualMachine", paths).items():
        vm, name = VirtualMachine.of(session, moref), str(found.get("name", ""))
        told = {extra_config.INSTANCE_UUID: _text(found.get(_UUID))}
        if told[extra_config.INSTANCE_UUID] and not instance_of(found.get(_INSTANCE), told):
            continue  # a copy has the original's marks, and nobody is at it
        worker = Mark.parse(_text(found.get(_WORKER)))
        snapshots = list(_snapshots(vm, name, found.get("snapshot"), worker))
        yield from snapshots
        if spawned := _text(found.get(_OPERATION)):
            judgment = in_flight.judge(Mark.parse(spawned))
            yield Leftover(
                kind=f"unfinished {judgment.mark.operation}",
                name=name,
                judgment=judgment,
                key=extra_config.OPERATION,
                vm=vm,
            )
        elif name.startswith(f"{IMPORT_PREFIX}-"):
            yield from _import(vm, name, folders)
        if worker.text and not any(worker.text in each.judgment.mark.text for each in snapshots):
            yield Leftover(
                kind=f"interrupted {worker.operation}",
                name=name,
                judgment=in_flight.judge(worker),
                key=extra_config.WORKER,
                vm=vm,
            )


def _text(option: object) -> str:
    return str(getattr(option, "value", "") or "")


def _import(vm: VirtualMachine, name: str, folders: list[Leftover]) -> Iterator[Leftover]:
    """It is at by whoever is at the folder that its disk goes to, which has the same id."""
    own = PREFIX + name.removeprefix(IMPORT_PREFIX)
    for each in folders:
        if each.folder is not None and each.folder.name == own:
            kind = "unfinished image import"
            yield replace(each, kind=kind, name=name, vm=vm)
            return
    judgment = _judge_name(name, IMPORT_PREFIX, "image import")
    if judgment is not None:
        yield Leftover(kind="unfinished image import", name=name, judgment=judgment, vm=vm)


def _snapshots(
    vm: VirtualMachine, vm_name: str, info: SnapshotInfo | None, worker: Mark
) -> Iterator[Leftover]:
    """Those in a VM's tree that were made for an image; what takes long is marked on the VM too."""
    trees = list(info.rootSnapshotList) if info is not None else []
    while trees:
        tree = trees.pop()
        trees.extend(tree.childSnapshotList or ())
        name = str(tree.name)
        sign = worker.text if worker.owner and worker.owner in name else ""
        judgment = _judge_name(name, SNAPSHOT_PREFIX, "snapshot", sign)
        if judgment is not None:
            yield Leftover(
                kind="unfinished snapshot",
                name=f"{vm_name}: {name}",
                judgment=judgment,
                vm=vm,
                snapshot=Snapshot(vm.session, tree.snapshot),
            )


def _folders(session: Session, settings: EngineSettings) -> Iterator[Leftover]:
    for datastore in session.inventory.datastores():
        if not datastore.accessible:
            continue
        cache = DatastorePath(datastore.name, settings.cache_folder)
        try:
            files = session.browse(cache)
        except FileNotFound:
            continue
        for file in files:
            folder = cache.joined(file.name)
            if in_flight.named_mark(file.name, "") is None:
                continue
            sign = read_lease(session, folder)
            judgment = _judge_name(file.name, PREFIX, FILLING, sign)
            if judgment is not None:
                yield Leftover(
                    kind="unfinished image transfer",
                    name=str(folder),
                    judgment=judgment,
                    folder=folder,
                )


def _files(images: DirectoryImageStore | None) -> Iterator[Leftover]:
    for file, judgment in images.unfinished() if images is not None else ():
        yield Leftover(
            kind="unfinished image", name=str(file), judgment=judgment, file=file, images=images
        )
