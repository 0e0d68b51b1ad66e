"""The virtual disks of the datastores: made, copied, moved, grown, deleted, in and out.

What guests run on is flat (raw content) or a delta over it; everything else is converted. A disk
is two files, and each operation is arranged so that what is at a disk's name is whole at every
moment: data gets its name before the descriptor that points to it, and loses it after.

Everywhere below a failure leaves no new file, and FileMissing, InvalidDisk, FileInUse, NoSpace,
InvalidDatastorePath and UnknownDatastore are raised for what their names say; the docstrings tell
what more there is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vmops.lab.storage import qcow2
from vmops.lab.storage.chains import (
    DiskInfo,
    Link,
    Provisioning,
    describe,
    load_chain,
    load_link,
    opened,
    parent_hint,
    provisioning_entries,
)
from vmops.lab.storage.descriptor import (
    LARGEST_CAPACITY,
    SECTOR,
    Adapter,
    Descriptor,
    DescriptorError,
    Extent,
    disk_database,
    fresh_cid,
    fresh_uuid,
    normal_uuid,
)
from vmops.lab.storage.errors import FileExists, InvalidDisk, host_errors
from vmops.lab.storage.layers import Cancelled, DiskFile, Layer, Progress, flattened
from vmops.lab.storage.locks import exclusive
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.placing import (
    FlatPlan,
    NewDisk,
    bring_file,
    data_path,
    fill_flat,
    grow,
    write_descriptor,
)
from vmops.lab.storage.sparse import SparseLayer
from vmops.lab.storage.stream_optimized import StreamWriter
from vmops.lab.storage.volumes import Volumes

__all__ = ["Adapter", "DiskInfo", "DiskStore", "Provisioning"]


class DiskStore:
    """Operations on disks, each named by the datastore path of its descriptor.

    It keeps no state and may be used from several threads.
    """

    def __init__(self, volumes: Volumes) -> None:
        self.volumes = volumes

    def inspect(self, path: DatastorePath) -> DiskInfo:
        """What is at ``path``, with all that lies below it; also while a guest runs on it.

        Raises:
            FileMissing: a file is missing, be it a descriptor, data, or a parent.
            InvalidDisk: one of them is unusable, the reason is fit for a user.
        """
        return self.inspect_chain(path)[0]

    def inspect_chain(self, path: DatastorePath) -> tuple[DiskInfo, ...]:
        """What `inspect` says of the disk and of each below it, the disk first."""
        chain = load_chain(self.volumes, path)
        with opened(chain, locked=False):  # which checks the data files
            return tuple(describe(chain[at:]) for at in range(len(chain)))

    def create(  # noqa: PLR0913 - each is a choice of the caller's
        self,
        path: DatastorePath,
        capacity_bytes: int,
        *,
        provisioning: Provisioning = "thin",
        adapter: Adapter = "lsiLogic",
        force: bool = False,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> DiskInfo:
        """Make an empty flat disk; the capacity is rounded up to a sector.

        Raises:
            FileExists: there is a disk, or its data file, and ``force`` is not given.
            InvalidDisk: the capacity is not above zero and at most 62 TiB.
            CopyCancelled: ``cancelled`` said so.
        """
        plan = FlatPlan(
            capacity_bytes=_checked_capacity(path, capacity_bytes),
            provisioning=provisioning,
            adapter=adapter,
            force=force,
        )
        return self._new_flat(path, plan, [], progress, cancelled)

    def create_child(
        self, path: DatastorePath, parent: DatastorePath, *, new_uuid: bool = False
    ) -> DiskInfo:
        """Make a delta over ``parent``, which is only read and may be in use.

        A snapshot's delta goes on being the same disk and keeps the parent's uuid; a linked
        clone is another disk: ``new_uuid``.

        Raises:
            FileExists: there is a disk, or its data file.
            InvalidDisk: the parent is a hosted sparse disk, which cannot have children.
        """
        chain = load_chain(self.volumes, parent)
        with opened(chain, locked=False):  # which checks the data files
            above = chain[0]
        if above.kind not in {"flat", "delta"}:
            raise InvalidDisk(parent, "a hosted sparse disk cannot be a parent")
        data = data_path(path, "delta")
        uuid = fresh_uuid() if new_uuid or not above.descriptor.uuid else above.descriptor.uuid
        cid = fresh_cid()
        descriptor = Descriptor(
            create_type="vmfsSparse",
            extents=(
                Extent(
                    sectors=above.capacity_bytes // SECTOR, kind="VMFSSPARSE", file_name=data.name
                ),
            ),
            cid=cid,
            parent_cid=above.descriptor.cid,
            parent_hint=parent_hint(path, parent),
            ddb=disk_database(above.capacity_bytes, above.descriptor.adapter, uuid, cid),
        )
        with NewDisk(self.volumes, path, data) as new:
            qcow2.create_empty(new.descriptor, above.capacity_bytes)
            new.publish(descriptor)
        return self.inspect(path)

    def copy(  # noqa: PLR0913 - each is a choice of the caller's
        self,
        source: DatastorePath,
        target: DatastorePath,
        *,
        provisioning: Provisioning | None = None,
        adapter: Adapter | None = None,
        force: bool = False,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> DiskInfo:
        """Copy a disk of any kind, flattened, to a new flat disk with a uuid and CID of its own.

        Provisioning and adapter are the source's unless given. The source may be in use as a
        parent, but not written to.

        Raises:
            FileExists: there is a disk at the target and ``force`` is not given.
            InvalidDisk: the target is one of the source's own files.
            CopyCancelled: ``cancelled`` said so.
        """
        chain = load_chain(self.volumes, source)
        if any(target in link.files for link in chain):
            raise InvalidDisk(target, "it is the disk to be copied, or one below it")
        plan = FlatPlan(
            capacity_bytes=chain[0].capacity_bytes,
            provisioning=provisioning or chain[0].provisioning,
            adapter=adapter or chain[0].descriptor.adapter,
            force=force,
        )
        with opened(chain) as layers:
            return self._new_flat(target, plan, layers, progress, cancelled)

    def import_file(  # noqa: PLR0913 - each is a choice of the caller's
        self,
        source: Path,
        target: DatastorePath,
        *,
        provisioning: Provisioning = "thin",
        adapter: Adapter | None = None,
        force: bool = False,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> DiskInfo:
        """Make a flat disk of a streamOptimized or monolithicSparse file of this machine.

        Raises:
            FileExists: there is a disk at the target and ``force`` is not given.
            InvalidDisk: the file is something else, truncated or damaged.
            CopyCancelled: ``cancelled`` said so.
        """
        file = DiskFile(source, source.name)
        if file.size_bytes == 0:
            file.close()
            raise InvalidDisk(source.name, "it is empty")
        layer = SparseLayer(file)
        try:
            plan = FlatPlan(
                capacity_bytes=layer.capacity_bytes,
                provisioning=provisioning,
                adapter=adapter or layer.descriptor.adapter,
                force=force,
            )
            return self._new_flat(target, plan, [layer], progress, cancelled)
        finally:
            layer.close()

    def export_stream(
        self,
        path: DatastorePath,
        write: Callable[[bytes], None],
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> int:
        """Hand the disk, flattened, as a streamOptimized file to ``write``; returns its length.

        ``write`` gets about a MiB at a time; what it raises comes through.

        Raises:
            CopyCancelled: ``cancelled`` said so.
        """
        chain = load_chain(self.volumes, path)
        top = chain[0]
        cid = fresh_cid()
        database = disk_database(
            top.capacity_bytes, top.descriptor.adapter, top.descriptor.uuid or fresh_uuid(), cid
        )
        descriptor = Descriptor(
            create_type="streamOptimized",
            extents=(
                Extent(sectors=top.capacity_bytes // SECTOR, kind="SPARSE", file_name=path.name),
            ),
            cid=cid,
            ddb=database,
        )
        with (
            opened(chain) as layers,
            StreamWriter(write, top.capacity_bytes, descriptor.render()) as stream,
        ):
            for offset, data in flattened(layers, progress, cancelled):
                stream.add(offset, data)
            return stream.finish()

    def extend(
        self, path: DatastorePath, capacity_bytes: int, *, eager: bool = False, in_use: bool = False
    ) -> DiskInfo:
        """Grow a flat disk that nobody has open; the new part reads as zeros.

        A disk that is not thin gets its space now; ``eager`` is for thick disks what
        eagerZeroedThick is, and a thin disk stays thin. ``in_use`` is for one a guest runs on,
        which is then to be told of it.

        Raises:
            InvalidDisk: it would shrink, or is not flat.
        """
        capacity_bytes = _checked_capacity(path, capacity_bytes)
        link = load_link(self.volumes, path)
        if link.kind != "flat":
            raise InvalidDisk(path, f"a disk of kind {link.kind} cannot be extended")
        if capacity_bytes < link.capacity_bytes:
            raise InvalidDisk(
                path, f"it has {link.capacity_bytes} bytes and cannot shrink to {capacity_bytes}"
            )
        with exclusive([] if in_use else [(link.data_file, link.data)]):
            link.open(locked=False).close()  # the data must be there, in full
            grow(self.volumes, link, capacity_bytes)
            try:
                resized = link.resized(capacity_bytes, eager=eager)
                write_descriptor(self.volumes, path, resized, replace=True)
            except BaseException:
                os.truncate(link.data_file, link.capacity_bytes)
                raise
        return self.inspect(path)

    def move(
        self,
        source: DatastorePath,
        target: DatastorePath,
        *,
        force: bool = False,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        """Move or rename a disk with its data file, also to another datastore.

        It keeps its uuid and CID, and a delta its parent. Children of the disk itself name it by
        path, as vSphere's do, and do not follow.

        Raises:
            FileExists: there is a disk at the target and ``force`` is not given.
            CopyCancelled: ``cancelled`` said so.
        """
        link = load_link(self.volumes, source)
        if target in link.files:
            raise FileExists(target)
        files = [(self.volumes.resolve(file), file) for file in link.files]
        with exclusive(files):
            link.open(locked=False).close()  # the data must be there, in full
            single = link.data == link.path
            kind: Literal["flat", "delta"] = "delta" if link.kind == "delta" else "flat"
            data = target if single else data_path(target, kind)
            with NewDisk(self.volumes, target, data, force=force) as new:
                bring_file(self.volumes, link, new, progress, cancelled)
                new.publish(None if single else link.renamed(target, data))
            self._unlink(link)

    def delete(self, path: DatastorePath) -> None:
        """Delete a disk that nobody has open: its data, then its descriptor, no parent's files.

        As on vSphere nothing stops the deletion of a disk that has children; a running guest on a
        child does.
        """
        link = load_link(self.volumes, path)
        with exclusive([(self.volumes.resolve(file), file) for file in link.files]):
            self._unlink(link)

    def set_uuid(self, path: DatastorePath, uuid: str) -> None:
        """Give the disk another identity: 16 bytes in hexadecimal, in any usual grouping.

        Raises:
            InvalidDisk: ``uuid`` is none, or the disk has no descriptor file of its own.
        """
        link = load_link(self.volumes, path)
        if link.data == link.path:
            raise InvalidDisk(path, "the descriptor inside a sparse disk is not changed")
        try:
            normal = normal_uuid(uuid)
        except DescriptorError as error:
            raise InvalidDisk(path, str(error)) from error
        ddb = {**link.descriptor.ddb, "uuid": normal}
        write_descriptor(self.volumes, path, replace(link.descriptor, ddb=ddb), replace=True)

    def _new_flat(
        self,
        target: DatastorePath,
        plan: FlatPlan,
        layers: Sequence[Layer],
        progress: Progress | None,
        cancelled: Cancelled | None,
    ) -> DiskInfo:
        data = data_path(target, "flat")
        if plan.provisioning != "thin":
            self.volumes.require(target.datastore, plan.capacity_bytes)
        cid = fresh_cid()
        database = disk_database(plan.capacity_bytes, plan.adapter, fresh_uuid(), cid)
        descriptor = Descriptor(
            create_type="vmfs",
            extents=(
                Extent(sectors=plan.capacity_bytes // SECTOR, kind="VMFS", file_name=data.name),
            ),
            cid=cid,
            ddb={**database, **provisioning_entries(plan.provisioning)},
        )
        with NewDisk(self.volumes, target, data, force=plan.force) as new:
            fill_flat(new, plan, layers, progress, cancelled)
            new.publish(descriptor)
        return self.inspect(target)

    def _unlink(self, link: Link) -> None:
        # The descriptor goes last: as long as it is there, a deletion that was cut off can be
        # repeated.
        for path in reversed(link.files):
            with host_errors(path, path.datastore):
                self.volumes.resolve(path).unlink(missing_ok=True)


def _checked_capacity(path: DatastorePath, capacity_bytes: int) -> int:
    if not 0 < capacity_bytes <= LARGEST_CAPACITY:
        raise InvalidDisk(path, f"a disk has 1 byte to 62 TiB, not {capacity_bytes} bytes")
    return -(-capacity_bytes // SECTOR) * SECTOR
