"""Disks brought to another place as what they are: same uuid, same CID, same chain.

Nothing at the old place changes, so that whoever moves a machine can prepare the new place, switch
over, and only then delete; or give up, and delete what is new.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from vmops.lab.storage import qcow2
from vmops.lab.storage.chains import (
    COPIED,
    Link,
    Provisioning,
    load_chain,
    load_link,
    opened,
    parent_hint,
    provisioning_entries,
)
from vmops.lab.storage.descriptor import NO_PARENT_CID, SECTOR, Descriptor, Extent
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import InvalidDisk, StorageError, host_errors
from vmops.lab.storage.layers import Cancelled, DiskFile, Progress, RawLayer, flattened
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.placing import (
    FlatPlan,
    NewDisk,
    bring_file,
    data_path,
    fill_flat,
    write_descriptor,
)
from vmops.lab.storage.volumes import Volumes
from vmops.lab.storage.writing import write_sparsely


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Who is told how far a transfer is, and who may stop it."""

    progress: Progress | None = None
    cancelled: Cancelled | None = None


def bring_link(
    volumes: Volumes,
    source: DatastorePath,
    target: DatastorePath,
    *,
    parent: DatastorePath | None,
    stays: bool,
    watched: Watched = Watched(),
) -> None:
    """Let one disk of a chain be at ``target`` too; a delta then stands on ``parent`` there.

    A source that goes afterwards gives its data a second name where the file system can do that;
    one that ``stays`` is copied while nobody writes to it.

    Raises:
        FileExists: there is a disk at the target.
        FileInUse: a guest writes to the source.
        NoSpace, CopyCancelled: nothing is at the target.
        InvalidDisk: the source is of a kind guests cannot run on.
    """
    link = _runnable(volumes, source)
    data = data_path(target, "delta" if link.kind == "delta" else "flat")
    with NewDisk(volumes, target, data) as new:
        if not stays:
            bring_file(volumes, link, new, watched.progress, watched.cancelled)
        elif link.kind == "flat":
            with opened((link,)) as layers:
                fill_flat(new, _plan(link, None), layers, watched.progress, watched.cancelled)
        else:
            _copy_delta(volumes, link, new, watched)
        new.publish(_moved(link, target, data, parent))


def mark_copied(volumes: Volumes, path: DatastorePath) -> None:
    """Note of a copy that it is there for the disk that stands on it, and goes with that.

    Raises:
        FileMissing, InvalidDisk: as `load_link`.
    """
    link = load_link(volumes, path)
    ddb = {**link.descriptor.ddb, COPIED: "1"}
    write_descriptor(volumes, path, replace(link.descriptor, ddb=ddb), replace=True)


def bring_flattened(
    volumes: Volumes,
    source: DatastorePath,
    target: DatastorePath,
    *,
    provisioning: Provisioning | None = None,
    watched: Watched = Watched(),
) -> None:
    """Write the whole content of a chain to one flat disk, which is still the same disk.

    Raises:
        As `bring_link`.
    """
    chain = load_chain(volumes, source)
    plan = _plan(chain[0], provisioning or chain[-1].provisioning)
    data = data_path(target, "flat")
    if plan.provisioning != "thin":
        volumes.require(target.datastore, plan.capacity_bytes)
    with opened(chain) as layers, NewDisk(volumes, target, data) as new:
        fill_flat(new, plan, layers, watched.progress, watched.cancelled)
        new.publish(_flat(chain[0], data, plan.provisioning))


def make_twin(
    volumes: Volumes,
    source: DatastorePath,
    target: DatastorePath,
    *,
    parent: DatastorePath | None,
    provisioning: Provisioning | None = None,
) -> None:
    """Make the empty disk a running guest's disk is to be moved to.

    With ``parent`` it is a delta on it, without it is flat.

    Raises:
        FileExists: there is a disk at the target.
        NoSpace: thick, and there is no room; or the guest's disk would not fit.
        InvalidDisk: the source is of a kind guests cannot run on.
    """
    link = _runnable(volumes, source)
    if parent is not None:
        data = data_path(target, "delta")
        with NewDisk(volumes, target, data) as new:
            qcow2.create_empty(new.descriptor, link.capacity_bytes)
            new.publish(_moved(link, target, data, parent))
        return
    base = load_chain(volumes, source)[-1]
    plan = _plan(link, provisioning or base.provisioning)
    data = data_path(target, "flat")
    with NewDisk(volumes, target, data) as new:
        fill_flat(new, plan, [], None, None)
        new.publish(_flat(link, data, plan.provisioning))


def remove(store: DiskStore, path: DatastorePath, twin: DatastorePath) -> None:
    """Delete a disk at one of the two places it was at.

    Where both have the same data under two names a guest may hold it, at the other place.

    Raises:
        FileInUse: a guest has this very disk.
        FileMissing, InvalidDisk: as `load_link`.
    """
    link = load_link(store.volumes, path)
    if not _is_same(link, store.volumes, twin):
        store.delete(path)
        return
    for name in reversed(link.files):
        with host_errors(name, name.datastore):
            store.volumes.resolve(name).unlink(missing_ok=True)


def _is_same(link: Link, volumes: Volumes, twin: DatastorePath) -> bool:
    try:
        return link.data_file.samefile(load_link(volumes, twin).data_file)
    except (OSError, StorageError):
        return False


def occupied(volumes: Volumes, path: DatastorePath) -> int:
    """Bytes the data of one disk of a chain takes on the host.

    Raises:
        FileMissing, InvalidDisk: as `load_link`.
    """
    link = load_link(volumes, path)
    with host_errors(link.data, link.data.datastore):
        return link.data_file.stat().st_blocks * 512


def _runnable(volumes: Volumes, source: DatastorePath) -> Link:
    link = load_link(volumes, source)
    if link.kind not in {"flat", "delta"}:
        raise InvalidDisk(source, f"a disk of kind {link.kind} cannot be moved as it is")
    return link


def _plan(link: Link, provisioning: Provisioning | None) -> FlatPlan:
    return FlatPlan(
        capacity_bytes=link.capacity_bytes,
        provisioning=provisioning or link.provisioning,
        adapter=link.descriptor.adapter,
        force=False,
    )


def _moved(
    link: Link, target: DatastorePath, data: DatastorePath, parent: DatastorePath | None
) -> Descriptor:
    (extent,) = link.descriptor.extents
    hint = None if parent is None else parent_hint(target, parent)
    moved = replace(extent, file_name=data.name)
    return replace(link.descriptor, extents=(moved,), parent_hint=hint)


def _flat(link: Link, data: DatastorePath, provisioning: Provisioning) -> Descriptor:
    extent = Extent(sectors=link.capacity_bytes // SECTOR, kind="VMFS", file_name=data.name)
    kept = {
        key: value
        for key, value in link.descriptor.ddb.items()
        if key not in {**provisioning_entries("thin"), **provisioning_entries("eagerZeroedThick")}
    }
    return replace(
        link.descriptor,
        create_type="vmfs",
        extents=(extent,),
        parent_cid=NO_PARENT_CID,
        parent_hint=None,
        ddb={**kept, **provisioning_entries(provisioning)},
    )


def _copy_delta(volumes: Volumes, link: Link, new: NewDisk, watched: Watched) -> None:
    volumes.require(new.data.datastore, occupied(volumes, link.path))
    source = DiskFile(link.data_file, link.data)
    layer = RawLayer(source, source.size_bytes)
    try:
        with host_errors(new.data, new.data.datastore):
            os.ftruncate(new.descriptor, source.size_bytes)
            for offset, data in flattened([layer], watched.progress, watched.cancelled):
                write_sparsely(new.descriptor, offset, data, new.spend)
    finally:
        layer.close()
