"""The steps that put an image into a datastore's cache, for ISO images and three kinds of VMDK.

Flat: a disk's metadata is created, its flat file deleted, the image uploaded in its place.
Sparse: the image is uploaded beside, copied to a thin disk, and deleted.
streamOptimized: the image is imported through an NFC lease, as the disk of a VM without use.
ISO: the image is uploaded as it is.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from vmops.errors import UNANSWERED, Conflict, FileNotFound, VsphereFault
from vmops.images.content import Opens
from vmops.images.folder_lease import FILLING, PREFIX, end_lease, leased_folder
from vmops.in_flight import Lease
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import Image
from vmops.specs import virtual_machine as vm_specs
from vmops.specs.disks import DESCRIPTOR_ADAPTERS, provisioning
from vmops.steps import Reversible, noting, step
from vmops.vsphere.objects.resource_pool import ResourcePool
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref

log = logging.getLogger(__name__)

IMPORT_PREFIX = "vmops-import"
"""What the names of imports' VMs begin with; their owner follows."""

_DELETE_AGAIN_S = (0.1, 0.3, 1.0)
_LOOK_AGAIN_S = (0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image, and what brings it to the datastore."""

    session: Session
    store: Opens
    image: Image

    @property
    def capacity_bytes(self) -> int:
        """The size of the image's disk."""
        return self.image.capacity_bytes or self.image.size_bytes

    @property
    def descriptor_adapter(self) -> str:
        """The adapter's word in a VMDK descriptor."""
        return DESCRIPTOR_ADAPTERS[self.image.properties.adapter_type]


@step("Make a temporary folder")
def make_temporary_folder(
    session: Session, folder: DatastorePath, *, keep: bool = True
) -> Reversible[Lease]:
    """Make ``folder``; without ``keep`` it is deleted at the operation's end in any case.

    It is held until then, or until it becomes a part of the cache; see `images.folder_lease`.
    """
    try:
        session.file_manager.make_directory(folder, parents=True)
    except UNANSWERED as lost:
        with noting(lost, f"make sure that {folder} is gone"):
            _delete(session, folder)
        raise
    with leased_folder(session, folder, FILLING) as lease:
        try:
            yield lease
            keep = False
        finally:
            if not keep:
                _delete(session, folder)


def _delete(session: Session, folder: DatastorePath) -> None:
    """Delete a temporary folder; the server may still be writing in it what was broken off here."""
    for delay_s in (*_DELETE_AGAIN_S, None):
        try:
            session.file_manager.delete(folder, missing_ok=True)
        except (Conflict, VsphereFault) as failure:
            if delay_s is None:
                raise
            log.debug("%s cannot be deleted yet: %s", folder, failure)
            time.sleep(delay_s)
        else:
            return


@step("Create the disk's metadata")
def create_metadata(source: Source, disk: DatastorePath) -> Reversible[None]:
    """Create a disk of the image's size, of which only the descriptor will be kept."""
    source.session.virtual_disk_manager.create(
        disk,
        source.capacity_bytes,
        disk_type=provisioning(source.image.properties.disk_type),
        adapter_type=source.descriptor_adapter,
    )
    yield


@step("Delete its flat file")
def delete_flat(source: Source, disk: DatastorePath) -> Reversible[None]:
    """Make room for the image's bytes."""
    source.session.file_manager.delete(disk.flat)
    yield


@step("Upload the image in its place")
def upload_flat(source: Source, disk: DatastorePath) -> Reversible[None]:
    """Put the image's bytes where the flat file was."""
    _upload(source, disk.flat)
    yield


@step("Upload the sparse image")
def upload_sparse(source: Source, disk: DatastorePath) -> Reversible[None]:
    """Put the image beside the disk that will be made of it."""
    _upload(source, disk.sparse)
    yield


@step("Copy it to a thin disk")
def copy_to_thin(source: Source, disk: DatastorePath) -> Reversible[None]:
    """Convert the sparse image to a disk that a VM can use."""
    source.session.virtual_disk_manager.copy(
        disk.sparse, disk, disk_type="thin", adapter_type=source.descriptor_adapter
    )
    yield


@step("Delete the sparse file")
def delete_sparse(source: Source, disk: DatastorePath) -> Reversible[None]:
    """Delete the uploaded file, which the thin copy has replaced."""
    source.session.file_manager.delete(disk.sparse)
    yield


@step("Upload the ISO image")
def upload_iso(source: Source, target: DatastorePath) -> Reversible[None]:
    """Put the image where drives can have it."""
    _upload(source, target)
    yield


@step("Import the image through a lease")
def import_image(
    source: Source, folder: Moref, pool: Moref, temporary: DatastorePath
) -> Reversible[VirtualMachine]:
    """Import the image as the disk of a VM that is never started.

    The VM is named as the temporary folder, which tells whose both are.
    A lease that is not completed is aborted, and its VM goes with it. If not even the lease arrived
    here, its VM is looked for.
    """
    image = source.image
    name = IMPORT_PREFIX + temporary.name.removeprefix(PREFIX)
    spec = vm_specs.import_shell(
        name, temporary.datastore, source.capacity_bytes, image.properties.adapter_type
    )
    try:
        importing = ResourcePool(source.session, pool).import_vapp(spec, folder)
    except UNANSWERED as lost:
        with noting(lost, f"make sure that no VM {name!r} was made"):
            _remove_unanswered(source.session, folder, name)
        raise
    with importing as lease:
        with source.store.open(image) as stream:
            lease.upload(stream, image.size_bytes, name=image.name)
        vm = lease.complete()
    yield vm
    vm.destroy(missing_ok=True)


def _remove_unanswered(session: Session, folder: Moref, name: str) -> None:
    """The VM may have been made although no answer came: look for it, and take it back."""
    for delay_s in (0.0, *_LOOK_AGAIN_S):
        time.sleep(delay_s)
        if (found := session.search_index.child(folder, name)) is not None:
            VirtualMachine(session, found).destroy(missing_ok=True)
            return


@step("Move its disk out of the imported VM")
def take_imported_disk(
    session: Session, vm: VirtualMachine, target: DatastorePath
) -> Reversible[None]:
    """Take the disk, then remove the VM that carried it."""
    disks = vm.disk_paths()
    if not disks:
        raise FileNotFound(f"disk of {vm.moid}")
    session.virtual_disk_manager.move(disks[0], target)
    vm.destroy(missing_ok=True)
    yield


@step("Make a copy of the flavor's size")
def make_sized_copy(
    source: Source, base: DatastorePath, sized: DatastorePath, capacity_bytes: int
) -> Reversible[None]:
    """Copy the disk and extend the copy."""
    disks = source.session.virtual_disk_manager
    # Without a wanted type a copy is preallocated, whatever its source is.
    disks.copy(
        base, sized, provisioning(source.image.properties.disk_type), source.descriptor_adapter
    )
    disks.extend(sized, capacity_bytes)
    yield


@step("Move it into the cache")
def move_into_cache(
    session: Session, temporary: DatastorePath, entry: DatastorePath, lease: Lease
) -> Reversible[None]:
    """Make the temporary folder the cache's entry, in one rename."""
    end_lease(session, temporary, lease)
    session.file_manager.move(temporary, entry)
    yield


@step("Move it into the cache")
def move_disk_into_cache(
    session: Session, made: DatastorePath, sized: DatastorePath
) -> Reversible[None]:
    """Add one disk to the cache's entry."""
    session.virtual_disk_manager.move(made, sized)
    yield


def _upload(source: Source, target: DatastorePath) -> None:
    with source.store.open(source.image) as stream:
        source.session.datastore_files.upload(
            stream, source.image.size_bytes, target, name=source.image.name
        )
