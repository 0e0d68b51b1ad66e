"""Snapshot: an image of a running instance's root disk."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Protocol

from vmops import in_flight, units
from vmops.context import tell
from vmops.errors import (
    Conflict,
    ConnectionLost,
    FileNotFound,
    InvalidState,
    LeaseLost,
    LeftBehind,
    ManagedObjectNotFound,
    NotSupported,
    QuiesceFailed,
)
from vmops.images.folder_lease import PREFIX, leased_folder
from vmops.images.store import ImageStore
from vmops.model import extra_config
from vmops.model.controllers import KINDS
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType, DiskType, Firmware, Image
from vmops.model.power import PowerState
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.own_disks import image_disks, root_disk
from vmops.ops.guard.states import called
from vmops.ops.guard.vm_marks import leased, take_off
from vmops.ops.instances.unmerged import remove_snapshot
from vmops.progress import Warned
from vmops.steps import Operation, Reversible, noting, step
from vmops.vsphere.objects.lookup import unless_gone
from vmops.vsphere.objects.nfc_lease import DeviceUrl, NfcLease
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.snapshots import Snapshot, create_snapshot, find_snapshot
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_hardware import VmHardware
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

IMAGE_PENDING_UPLOAD = "image_pending_upload"
IMAGE_UPLOADING = "image_uploading"

SNAPSHOT_PREFIX = "vmops-snapshot"
"""What the names of the snapshots begin with; their maker follows."""

# vSphere ends a lease that it does not hear of after five minutes; some slack.
_LEASE_S = 330.0
# What a stream has beside the disk's bytes, which may not be compressible: markers and tables.
_STREAM_OVERHEAD_BYTES = 16 * units.MIB
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 10.0


class UpdateTaskState(Protocol):
    """Nova's callback for the state of an image that is being made."""

    def __call__(self, *, task_state: str, expected_state: str | None = None) -> object:
        """Take over the new state, if the present one is the expected one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResult:
    """The image that was made. ``quiesced`` False: it is as if the power had failed."""

    image: Image
    quiesced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is known of the VM before anything is done."""

    vm: VirtualMachine
    hardware: VmHardware
    root: VmDisk
    guest_id: str
    tools_run: bool
    project_id: str

    @property
    def adapter(self) -> AdapterType:
        return self.hardware.controller(self.root.controller_key).adapter

    @property
    def root_key(self) -> str:
        """How a lease's keys end for the root disk, as in "/vm-12/VirtualIDEController0:0"."""
        controller = self.hardware.controller(self.root.controller_key)
        return f"/{KINDS[controller.adapter].wire_name}{controller.bus}:{self.root.unit_number}"

    def image_properties(self) -> dict[str, str]:
        """What `spawn` needs to boot from the image."""
        properties = {
            "vmware_ostype": self.guest_id,
            "vmware_adaptertype": self.adapter.value,
            "vmware_image_version": "1",
        }
        if self.project_id:
            properties["owner_id"] = self.project_id
        if self.hardware.firmware is Firmware.EFI:
            properties["hw_firmware_type"] = "uefi"
        if self.hardware.secure_boot:
            properties["os_secure_boot"] = "required"
        return properties


def snapshot(
    engine: Engine,
    images: ImageStore,
    vm: VirtualMachine,
    name: str,
    update_task_state: UpdateTaskState,
    *,
    project_id: str = "",
) -> SnapshotResult:
    """Make an image of an instance's root disk; the instance runs on.

    1. Look at the VM
    2. Create the snapshot
    3. Upload the disk to the image store
    4. Delete the snapshot

    In step 3 the disk leaves through a lease on the snapshot, its chain coalesced on the way. Where
    the endpoint cannot do that, the chain is coalesced to a temporary disk, whose data file is
    uploaded and which is deleted. Where the guest's Tools run it is asked to hold its writes;
    otherwise, and where it cannot, the image is as after a power failure, and the result says so.

    ``update_task_state`` is called with image_pending_upload before step 2 and with
    image_uploading, expecting image_pending_upload, before step 3. Whatever fails, no snapshot,
    file, lease or image is left.

    Raises:
        LeftBehind: the image is made and stays, but layers of the snapshot cannot be merged now, as
            while a backup holds a disk; the instance goes on writing to them. They are named.
        InstanceNotFound: there is no such instance.
        NoRootDisk: it has no disk; no state was told.
        InvalidState: it runs from a disk that snapshots leave out; no state was told.
        AlreadyExists: the store has an image of this name; nothing was done, no state was told.
        NoDiskSpace: the datastore is full.
        TransferFailed: the bytes did not all arrive.
    """
    with Operation("snapshot") as run:
        images.refuse_taken(name)
        subject = run(look_at(vm, project_id))
        update_task_state(task_state=IMAGE_PENDING_UPLOAD)
        made, quiesced, lease = run(take_snapshot(engine.session, subject))
        update_task_state(task_state=IMAGE_UPLOADING, expected_state=IMAGE_PENDING_UPLOAD)
        image = run(upload_disk(engine, images, subject, made, name))
        left = run(delete_snapshot(engine.session, subject, made, lease))
    if left is not None:
        raise LeftBehind(
            f"The image {name!r} is made, and stays. {left.what}", left.leftovers
        ) from left
    return SnapshotResult(image=image, quiesced=quiesced)


@step("Look at the VM")
def look_at(vm: VirtualMachine, project_id: str) -> Reversible[_Subject]:
    """Find the disk that the VM writes to now, at the end of its chain, in one read."""
    hardware, more = vm.hardware_and("config.guestId", "guest.toolsRunningStatus")
    name = called(vm)
    root = root_disk(hardware, name)
    if not root.is_in_snapshots and hardware.files.power_state is not PowerState.POWERED_OFF:
        raise InvalidState(
            f"{name} boots from a disk that snapshots leave out, as they do first class disks."
            " Stop it first, or make a snapshot of its volume."
        )
    if left_out := image_disks(hardware.files):
        names = ", ".join(DatastorePath.parse(disk.file_name).name for disk in left_out)
        tell(Warned(text=f"The image has the root disk alone, without {name}'s {names}."))
    yield _Subject(
        vm=vm,
        hardware=hardware,
        root=root,
        guest_id=str(more.get("config.guestId") or "otherGuest"),
        tools_run=more.get("guest.toolsRunningStatus") == "guestToolsRunning",
        project_id=project_id,
    )


@step("Create the snapshot")
def take_snapshot(
    session: Session, subject: _Subject
) -> Reversible[tuple[Snapshot, bool, in_flight.Lease]]:
    """Freeze the disk's state; what the VM writes from now on goes elsewhere.

    Its name says whose it is. What takes long is also marked on the VM, where it can be renewed.
    """
    with leased(subject.vm, extra_config.WORKER, "snapshot") as lease:
        made, quiesced = _create(session, subject)
        yield made, quiesced, lease
        with unless_gone(subject.vm):
            remove_snapshot(session, subject.vm, made)
        take_off(subject.vm, lease)


def _create(session: Session, subject: _Subject) -> tuple[Snapshot, bool]:
    """Create the snapshot, and say whether its image is more than crash-consistent.

    A snapshot that was made although its answer was lost is found by its name and removed.
    """
    name = in_flight.unique_name(SNAPSHOT_PREFIX)
    power_state = subject.hardware.files.power_state
    quiesced = power_state is PowerState.POWERED_ON and subject.tools_run
    try:
        try:
            made = create_snapshot(session, subject.vm, name, quiesce=quiesced)
        except QuiesceFailed as failure:
            log.warning("%s is not quiesced, its image is crash-consistent: %s", name, failure)
            quiesced = False
            made = create_snapshot(session, subject.vm, name, quiesce=False)
    except BaseException as failure:
        with noting(failure, f"remove the snapshot {name}"), unless_gone(subject.vm):
            wait_for_recent_tasks(session, subject.vm.moref)
            if (left := find_snapshot(session, subject.vm, name)) is not None:
                remove_snapshot(session, subject.vm, left)
        raise
    return made, quiesced or power_state is PowerState.POWERED_OFF


@step("Upload the disk to the image store")
def upload_disk(
    engine: Engine, images: ImageStore, subject: _Subject, made: Snapshot, name: str
) -> Reversible[Image]:
    """Stream the root disk into the store, by a lease or by a coalesced copy."""
    try:
        lease = made.export()
    except NotSupported as refusal:
        log.info("snapshots cannot be exported here, the disk is copied first: %s", refusal)
        image = _upload_copy(engine, images, subject, name)
    except ConnectionLost as lost:
        with noting(lost, "remove the snapshot, which an unknown lease may hold"):
            _outlive_lease(made)
        raise
    except ManagedObjectNotFound as gone:
        raise LeaseLost(f"The snapshot of {called(subject.vm)}", "snapshot") from gone
    else:
        image = _upload_export(lease, images, subject, name)
    yield image
    images.remove(image.id)


def _outlive_lease(made: Snapshot) -> None:
    """Remove a snapshot that may be held by a lease whose reference got lost, until it expires."""
    end, delay = time.monotonic() + _LEASE_S, _FIRST_WAIT_S
    while True:
        try:
            return made.remove(missing_ok=True)
        except Conflict:
            if time.monotonic() > end:
                raise
        time.sleep(delay)
        delay = min(delay * 2, _LONGEST_WAIT_S)


def _upload_export(lease: NfcLease, images: ImageStore, subject: _Subject, name: str) -> Image:
    with lease:
        device = _root_device(lease.wait_ready(), subject.root_key)
        capacity_bytes = subject.root.capacity_bytes
        most_bytes = capacity_bytes + capacity_bytes // 16 + _STREAM_OVERHEAD_BYTES
        blocks = lease.download(device, name=name, most_bytes=most_bytes)
        with contextlib.closing(blocks):
            image = images.receive(
                name,
                blocks,
                disk_type=DiskType.STREAM_OPTIMIZED,
                properties=subject.image_properties(),
            )
        try:
            lease.complete()
        except BaseException:
            images.remove(image.id)
            raise
    return image


def _root_device(devices: tuple[DeviceUrl, ...], key: str) -> DeviceUrl:
    """The root disk among a lease's disks."""
    disks = [device for device in devices if device.is_disk]
    for device in disks:
        if len(disks) == 1 or device.key.endswith(key):
            return device
    raise FileNotFound(f"root disk {key}", [device.key for device in disks])


def _upload_copy(engine: Engine, images: ImageStore, subject: _Subject, name: str) -> Image:
    """Coalesce the chain below the snapshot to a temporary disk, and upload its data file."""
    session = engine.session
    source = DatastorePath.parse(subject.root.file_name)
    folder = DatastorePath(source.datastore, engine.settings.cache_folder).joined(
        in_flight.unique_name(PREFIX)
    )
    disk = folder.joined("snapshot.vmdk")
    with leased_folder(session, folder, "snapshot"):
        return _copy_and_upload(session, images, subject, disk, name)


def _copy_and_upload(
    session: Session, images: ImageStore, subject: _Subject, disk: DatastorePath, name: str
) -> Image:
    source, folder = DatastorePath.parse(subject.root.file_name), disk.parent
    try:
        session.file_manager.make_directory(folder, parents=True)
        _coalesce(session, source, disk)
        blocks = session.datastore_files.download(disk.flat, most_bytes=subject.root.capacity_bytes)
        with contextlib.closing(blocks):
            image = images.receive(
                name, blocks, disk_type=DiskType.PREALLOCATED, properties=subject.image_properties()
            )
    except BaseException as failure:
        with noting(failure, f"delete {folder}"):
            session.file_manager.delete(folder, missing_ok=True)
        raise
    try:
        session.file_manager.delete(folder, missing_ok=True)
    except BaseException as failure:
        with noting(failure, f"remove the image {name}"):
            images.remove(image.id)
        with noting(failure, f"delete {folder}"):
            session.file_manager.delete(folder, missing_ok=True)
        raise
    return image


def _coalesce(session: Session, source: DatastorePath, target: DatastorePath) -> None:
    """Copy a chain to one disk: thin where the endpoint takes a wish, else as it does itself."""
    try:
        session.virtual_disk_manager.copy(source, target, disk_type="thin")
    except NotSupported as refusal:
        log.info("copies cannot be of a wanted type here: %s", refusal)
        session.virtual_disk_manager.copy(source, target)


@step("Delete the snapshot")
def delete_snapshot(
    session: Session, subject: _Subject, made: Snapshot, lease: in_flight.Lease
) -> Reversible[LeftBehind | None]:
    """Let the VM write to one chain again; give what is in the way of that, the image being whole.

    Nothing that could be taken back would help then: the snapshot is gone, its layers are not.
    """
    left = None
    try:
        remove_snapshot(session, subject.vm, made)
    except LeftBehind as failure:
        left = failure
    take_off(subject.vm, lease)
    yield left
