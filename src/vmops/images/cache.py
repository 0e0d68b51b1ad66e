"""The cache of images on a datastore.

``[datastore] <folder>/<image id>/`` holds ``<image id>.vmdk`` and, for linked clones of flavors
with a bigger disk, ``<image id>.<GiB>.vmdk``; that of an ISO image holds ``<image id>.iso``. The
further disks of an archive have entries of their own, ``<image id>-disk-<n>``. An entry is made in
a temporary folder beside it and moved there whole, so what is in the cache is complete, whatever
died while it was made. Temporary names tell whose they are (`vmops.in_flight`), so that leftovers
can be found.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmops import in_flight, units
from vmops.errors import AlreadyExists, FileLocked, ImageNotAcceptable
from vmops.images import content, filling
from vmops.images.folder_lease import FILLING, PREFIX, told_if_taken
from vmops.images.store import ImageStore
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import DiskType, Image
from vmops.steps import Operation
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlace:
    """The datastore of a cache, and where a VM may be put that carries an imported disk."""

    datastore: str
    datastore_moref: Moref
    vm_folder: Moref
    resource_pool: Moref


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedImage:
    """An image's disk in the cache."""

    path: DatastorePath
    capacity_bytes: int


class ImageCache:
    """The cached images of a session's datastores.

    Any number of threads, and with ``lock_dir`` also of processes on this machine, may ask for the
    same image at once: one fills the cache, the others wait for it.
    """

    def __init__(
        self, session: Session, store: ImageStore, folder: str, lock_dir: Path | None = None
    ) -> None:
        self._session = session
        self._store = store
        self._folder = folder
        self._lock_dir = lock_dir
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def fetch(self, image: Image, place: CachePlace, root_gib: int) -> CachedImage:
        """The image's disk on the datastore, put there first if need be.

        ``root_gib`` 0 asks for the disk as it is in the image; more asks for a parent of that size.

        Raises:
            ImageNotAcceptable: the image's file is not what its store says, or has no disk.
            NoDiskSpace: the datastore is full.
            NotSupported: the image must be converted, and there is no qemu-img here.
            TransferFailed: not all bytes arrived; nothing is left of them.
        """
        if image.disk_format == "iso":
            raise ImageNotAcceptable(
                f"Image {image.name!r} is an ISO image: there is no disk in it."
            )
        capacity_bytes = image.capacity_bytes or image.size_bytes
        wanted_bytes = max(capacity_bytes, units.gib_to_bytes(root_gib))
        called = _name(image)
        entry = DatastorePath(place.datastore, self._folder).joined(called)
        base = entry.joined(f"{called}.vmdk")
        sized = base
        if wanted_bytes > capacity_bytes:
            sized = entry.joined(f"{called}.{root_gib}.vmdk")
        with self._one_at_a_time(f"{place.datastore_moref}/{called}"):
            # Asked by HTTP, which costs no task: what was moved here is whole, so a look will do.
            there = self._session.datastore_files.exists
            if not there(sized):
                try:
                    if sized != base and there(base):
                        self._add_size(image, base, sized, wanted_bytes)
                    else:
                        self._fill(image, place, entry, sized.name, wanted_bytes)
                except (AlreadyExists, FileLocked):
                    # Another process was faster; what it moved there is as complete as ours, and
                    # in use if its instance runs already.
                    if not there(sized):
                        raise
        return CachedImage(path=sized, capacity_bytes=wanted_bytes)

    def fetch_iso(self, image: Image, place: CachePlace) -> DatastorePath:
        """An ISO image on the datastore, put there first if need be; raises as `fetch`."""
        entry = DatastorePath(place.datastore, self._folder).joined(image.id)
        iso = entry.joined(f"{image.id}.iso")
        with self._one_at_a_time(f"{place.datastore_moref}/{image.id}"):
            there = self._session.datastore_files.exists
            if not there(iso):
                try:
                    self._fill_iso(image, entry)
                except (AlreadyExists, FileLocked):
                    if not there(iso):
                        raise
        return iso

    def _fill_iso(self, image: Image, entry: DatastorePath) -> None:
        temporary = entry.parent.joined(in_flight.unique_name(PREFIX))
        source = filling.Source(session=self._session, store=self._store, image=image)
        with Operation("cache image") as do, told_if_taken(self._session, temporary, FILLING):
            lease = do(filling.make_temporary_folder(self._session, temporary))
            do(filling.upload_iso(source, temporary.joined(f"{image.id}.iso")))
            do(filling.move_into_cache(self._session, temporary, entry, lease))

    def _fill(
        self,
        image: Image,
        place: CachePlace,
        entry: DatastorePath,
        sized_name: str,
        wanted_bytes: int,
    ) -> None:
        """Make the entry in a temporary folder, then move it into the cache."""
        temporary = entry.parent.joined(in_flight.unique_name(PREFIX))
        base = temporary.joined(f"{_name(image)}.vmdk")
        with (
            content.as_vmdk(self._store, image) as (store, vmdk),
            Operation("cache image") as do,
            told_if_taken(self._session, temporary, FILLING),
        ):
            source = filling.Source(session=self._session, store=store, image=vmdk)
            lease = do(filling.make_temporary_folder(self._session, temporary))
            if image.properties.disk_type is DiskType.STREAM_OPTIMIZED:
                vm = do(
                    filling.import_image(source, place.vm_folder, place.resource_pool, temporary)
                )
                do(filling.take_imported_disk(self._session, vm, base))
            elif image.properties.disk_type is DiskType.SPARSE:
                do(filling.upload_sparse(source, base))
                do(filling.copy_to_thin(source, base))
                do(filling.delete_sparse(source, base))
            else:
                do(filling.create_metadata(source, base))
                do(filling.delete_flat(source, base))
                do(filling.upload_flat(source, base))
            if sized_name != base.name:
                sized = temporary.joined(sized_name)
                do(filling.make_sized_copy(source, base, sized, wanted_bytes))
            do(filling.move_into_cache(self._session, temporary, entry, lease))

    def _add_size(
        self, image: Image, base: DatastorePath, sized: DatastorePath, wanted_bytes: int
    ) -> None:
        """Add a parent of another size to an entry that is there."""
        source = filling.Source(session=self._session, store=self._store, image=image)
        temporary = sized.parent.parent.joined(in_flight.unique_name(PREFIX))
        with Operation("cache image") as do, told_if_taken(self._session, temporary, FILLING):
            do(filling.make_temporary_folder(self._session, temporary, keep=False))
            made = temporary.joined(sized.name)
            do(filling.make_sized_copy(source, base, made, wanted_bytes))
            do(filling.move_disk_into_cache(self._session, made, sized))

    @contextlib.contextmanager
    def _one_at_a_time(self, key: str) -> Iterator[None]:
        """Hold one cache entry against other threads and, with a lock folder, other processes."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock, contextlib.ExitStack() as held:
            if self._lock_dir is not None:
                self._lock_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
                digest = hashlib.sha256(f"{self._session.endpoint.url} {key}".encode()).hexdigest()
                file = held.enter_context((self._lock_dir / f"{digest[:32]}.lock").open("w"))
                fcntl.flock(file, fcntl.LOCK_EX)  # freed by the system when the process dies
            yield


def _name(image: Image) -> str:
    """What an image's entry is called, or that of a further disk of it."""
    return f"{image.id}-disk-{image.part}" if image.part else image.id
