"""Rescue and unrescue: boot an instance from another image, with its own disk beside it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vmops import in_flight
from vmops.context import undoing
from vmops.errors import InvalidState, NoRootDisk, NotRescued, VMOpsError
from vmops.images.cache import CachedImage, CachePlace
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import Image
from vmops.model.power import PowerState
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.made_files import MadeFiles, refuse_taken
from vmops.ops.engine.own_disks import own_folder, root_disk
from vmops.ops.guard.preconditions import pass_over_marks, refuse_resized, refuse_suspended
from vmops.ops.guard.states import called
from vmops.ops.guard.vm_marks import First, Outrun, begin_marked, leased
from vmops.ops.instances.power import power_off_step, power_on_step
from vmops.ops.notes.rescue import RescueNote, find_note
from vmops.specs import rescue as specs
from vmops.specs.disks import DESCRIPTOR_ADAPTERS
from vmops.specs.places import Places
from vmops.specs.virtual_machine import settings
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.lookup import unless_gone
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_hardware import VmDrive, VmHardware
from vmops.vsphere.session import Session

if TYPE_CHECKING:
    from vmops.specs.wire_types import ConfigSpec

_VERSION = "config.changeVersion"


def rescue(engine: Engine, vm: VirtualMachine, image: Image) -> None:
    """Boot an instance from a rescue image; its own root disk is the second disk.

    1. Look at the VM
    2. Put the image in the datastore's cache
    3. Note what has to be put back
    4. Power off
    5. Copy the image to the rescue disk
    6. Attach the rescue disk
    7. Boot from the rescue disk
    8. Power on

    An ISO image is not copied: in step 7, without 5 and 6, a drive with it is added and booted
    from. If anything fails the VM is as before, and runs if it ran.

    Raises:
        InstanceNotFound: there is no such instance.
        InvalidState: it is rescued already, paused, or in the middle of a resize. Nothing was
            changed, nor in what follows.
        InvalidPowerState: it is suspended.
        NoRootDisk: it has no disk that it boots from.
        UnsupportedDevice: there is no free place for a disk.
        FileAlreadyExists: there is a file where the rescue disk would be; it stays as it is.
        ImageNotAcceptable, NoDiskSpace, TransferFailed: the image cannot be put there.
    """
    with Operation("rescue") as run:
        hardware, change_version = run(look_at(vm))
        root = root_disk(hardware, called(vm))
        folder = own_folder(hardware, called(vm))
        is_iso = image.disk_format == "iso"
        if is_iso:
            places = Places(hardware.controllers, hardware.used)
            iso = run(cached_iso(engine, image, folder.datastore))
            note = _note(hardware, iso=iso)
        else:
            slot = hardware.free_slot(root)
            target = folder.joined(f"{vm.instance_uuid}-rescue.vmdk")
            refuse_taken(engine.session, target)
            cached = run(cached_image(engine, image, target.datastore))
            note = _note(hardware, disk=target)
        made = MadeFiles()
        seen = First(settings=hardware.files.extra_config, change_version=change_version)
        run(note_rescue(engine.session, vm, note, made, seen))
        if hardware.files.power_state is not PowerState.POWERED_OFF:
            run(power_off_step(vm))
        if is_iso:
            run(boot_from_iso(vm, iso, places))
        else:
            run(copy_to_rescue_disk(engine, hardware, root, cached, note, made))
            spec = specs.attach_disk(
                target, cached.capacity_bytes, slot.controller_key, slot.unit_number
            )
            run(attach_rescue_disk(vm, spec))
            run(boot_from_rescue_disk(vm, target))
        run(power_on_step(vm))


def unrescue(engine: Engine, vm: VirtualMachine, *, power_on_after: bool = True) -> None:
    """Put a rescued instance back: its own disk boots, the rescue disk is gone.

    1. Look at the VM
    2. Power off
    3. Delete what is left of the rescue disk
    4. Detach the rescue disk and boot as before
    5. Forget the rescue
    6. Power on

    Steps 3 and 5 are those of a rescue that died before it attached its disk: 5 instead of 4.

    May be repeated after a failure or a crash, of `rescue` as well as its own, until step 4 or 5
    is done: from then on the instance is not rescued any more, and off until it is powered on.

    Raises:
        InstanceNotFound: there is no such instance.
        NotRescued: it is not rescued; nothing was changed.
    """
    _restore(engine.session, vm, called(vm), power_on_after=power_on_after)


def _restore(
    session: Session,
    vm: VirtualMachine,
    name: str,
    *,
    power_on_after: bool,
    made: MadeFiles | None = None,
) -> None:
    """``made`` is that of the rescue which is taken back; None: its note says what it made."""
    with Operation("unrescue") as run:
        hardware, note = run(look_at_rescued(vm, name))
        is_on = hardware.files.power_state is not PowerState.POWERED_OFF
        disk, drive = _rescue_disk(hardware, note.disk), _rescue_drive(hardware, note)
        is_added = disk is not None or drive is not None
        is_changed = is_added or _boots_otherwise(hardware, note)
        if is_on and (is_changed or not power_on_after):
            run(power_off_step(vm))
            is_on = False
        if disk is None and note.disk:
            run(delete_rescue_disk(session, note, made or MadeFiles()))
        if is_changed:
            run(detach_rescue_disk(vm, disk, drive, note))
        else:
            run(forget_rescue(vm))
        if power_on_after and not is_on:
            try:
                run(power_on_step(vm))
            except VMOpsError as failure:
                failure.add_note(f"{name} is not rescued any more, and off: it can be powered on.")
                raise


def _boots_otherwise(hardware: VmHardware, note: RescueNote) -> bool:
    """Whether the VM is not as it was; a rescue that died early has changed nothing yet."""
    order = tuple(specs.boot_order_keys(hardware.boot_order))
    quick_boot = hardware.files.extra_config.get(extra_config.EFI_QUICK_BOOT, "")
    return (order, quick_boot) != (note.boot_order, note.efi_quick_boot)


@step("Look at the VM")
def look_at(vm: VirtualMachine) -> Reversible[tuple[VmHardware, str]]:
    """Read it in one read, with its change version, and refuse a second rescue."""
    hardware, more = vm.hardware_and(_VERSION)
    if pass_over_marks(vm, called(vm), hardware.files.extra_config):
        hardware, more = vm.hardware_and(_VERSION)
    found, name = hardware.files.extra_config, called(vm)
    if (note := find_note(found)) is not None:
        is_over = _boots_otherwise(hardware, note)
        what = "is rescued already" if is_over else "has a rescue that broke off before its end"
        raise InvalidState(f"{name} {what}. Unrescue it first.")
    refuse_resized(name, found)
    refuse_suspended(name, found, hardware.files.power_state)
    yield hardware, str(more.get(_VERSION) or "")


@step("Look at the VM")
def look_at_rescued(vm: VirtualMachine, name: str) -> Reversible[tuple[VmHardware, RescueNote]]:
    """Read it in one read, and refuse one that is not rescued."""
    hardware = vm.hardware()
    pass_over_marks(vm, name, hardware.files.extra_config)
    note = find_note(hardware.files.extra_config)
    if note is None:
        raise NotRescued(f"{name} is not rescued: there is nothing to take back.")
    yield hardware, note


@step("Put the image in the datastore's cache")
def cached_image(engine: Engine, image: Image, datastore: str) -> Reversible[CachedImage]:
    """Have the rescue image on the VM's datastore."""
    yield engine.cache.fetch(image, _cache_place(engine, datastore), 0)


@step("Put the image in the datastore's cache")
def cached_iso(engine: Engine, image: Image, datastore: str) -> Reversible[DatastorePath]:
    """The same for an ISO image."""
    yield engine.cache.fetch_iso(image, _cache_place(engine, datastore))


def _cache_place(engine: Engine, datastore: str) -> CachePlace:
    inventory = engine.session.inventory
    cluster = inventory.cluster(engine.cluster_name)
    place = inventory.datastore(datastore)
    return CachePlace(
        datastore=place.name,
        datastore_moref=place.moref,
        vm_folder=inventory.datacenter(cluster.datacenter).vm_folder,
        resource_pool=cluster.resource_pool,
    )


def _note(
    hardware: VmHardware, *, disk: DatastorePath | None = None, iso: DatastorePath | None = None
) -> RescueNote:
    return RescueNote(
        disk=str(disk) if disk else "",
        iso=str(iso) if iso else "",
        drives=tuple(drive.key for drive in hardware.drives),
        boot_order=tuple(specs.boot_order_keys(hardware.boot_order)),
        efi_quick_boot=hardware.files.extra_config.get(extra_config.EFI_QUICK_BOOT, ""),
        was_on=hardware.files.power_state is PowerState.POWERED_ON,
    )


@step("Note what has to be put back")
def note_rescue(
    session: Session, vm: VirtualMachine, note: RescueNote, made: MadeFiles, seen: First
) -> Reversible[None]:
    """Write the note before the first change; undone, everything that it knows of is put back.

    Whether a call that got no answer had its effect is looked up then, not guessed.
    """
    mark, since = in_flight.mark("rescue"), in_flight.owners_clock()
    try:
        begun = {extra_config.RESCUE: note.dump(), extra_config.WORKER: mark}
        begin_marked(vm, begun, seen)
    except Outrun:
        raise
    except BaseException:
        with undoing():
            _take_back(session, vm, note, made)
        raise
    with leased(vm, extra_config.WORKER, "rescue", mark, since):
        yield
        _take_back(session, vm, note, made)


def _take_back(session: Session, vm: VirtualMachine, note: RescueNote, made: MadeFiles) -> None:
    # Not even the note may have come to be.
    with unless_gone(vm), contextlib.suppress(NotRescued):
        wait_for_recent_tasks(session, vm.moref)
        _restore(session, vm, vm.moid, power_on_after=note.was_on, made=made)


@step("Copy the image to the rescue disk")
def copy_to_rescue_disk(
    engine: Engine,
    hardware: VmHardware,
    root: VmDisk,
    cached: CachedImage,
    note: RescueNote,
    made: MadeFiles,
) -> Reversible[None]:
    """Copy the cached image into the VM's own folder, also if it boots from a volume."""
    adapter = hardware.controller(root.controller_key).adapter
    target = DatastorePath.parse(note.disk)
    with made.making(target):
        engine.session.virtual_disk_manager.copy(
            cached.path, target, "thin", DESCRIPTOR_ADAPTERS[adapter]
        )
    yield


@step("Attach the rescue disk")
def attach_rescue_disk(vm: VirtualMachine, spec: ConfigSpec) -> Reversible[None]:
    """Attach it beside the root disk, on a controller of the same kind."""
    vm.reconfigure(spec)
    yield


@step("Boot from the rescue disk")
def boot_from_rescue_disk(vm: VirtualMachine, target: DatastorePath) -> Reversible[None]:
    """Put it first, also where EFI would take its last choice."""
    disk = _rescue_disk(vm.hardware(), str(target))
    if disk is None:
        raise NoRootDisk(f"The rescue disk {target} is not attached.")
    values = {extra_config.EFI_QUICK_BOOT: "FALSE", extra_config.WORKER: ""}
    with in_flight.ending():
        vm.reconfigure(specs.boot_from(disk.key, values))
    yield


@step("Boot from the rescue disk")
def boot_from_iso(vm: VirtualMachine, iso: DatastorePath, places: Places) -> Reversible[None]:
    """The same for an ISO image, which comes with its drive in the same call."""
    values = {extra_config.EFI_QUICK_BOOT: "FALSE", extra_config.WORKER: ""}
    with in_flight.ending():
        vm.reconfigure(specs.boot_from_iso(iso, places, values))
    yield


def _rescue_drive(hardware: VmHardware, note: RescueNote) -> VmDrive | None:
    """The drive that the rescue added; the instance may have one with the same image."""
    added = (drive for drive in hardware.drives if drive.key not in note.drives)
    return next((drive for drive in added if note.iso and drive.iso == note.iso), None)


def _rescue_disk(hardware: VmHardware, path: str) -> VmDisk | None:
    return next((d for d in hardware.files.disks if d.file_name == path), None)


@step("Delete what is left of the rescue disk")
def delete_rescue_disk(session: Session, note: RescueNote, made: MadeFiles) -> Reversible[None]:
    """A rescue that died before it attached its disk has left the file; it had seen none before."""
    for path in made.own([DatastorePath.parse(note.disk)]):
        if session.datastore_files.exists(path):
            session.virtual_disk_manager.delete(path, missing_ok=True)
    yield


@step("Detach the rescue disk and boot as before")
def detach_rescue_disk(
    vm: VirtualMachine, disk: VmDisk | None, drive: VmDrive | None, note: RescueNote
) -> Reversible[None]:
    """Remove the disk with its file or the drive, boot as before, forget the rescue: one change."""
    values = {
        extra_config.RESCUE: "",
        extra_config.WORKER: "",
        extra_config.EFI_QUICK_BOOT: note.efi_quick_boot,
    }
    spec = specs.end_rescue(
        disk.key if disk else None, drive.key if drive else None, note.boot_order, values
    )
    with in_flight.ending():
        vm.reconfigure(spec)
    yield


@step("Forget the rescue")
def forget_rescue(vm: VirtualMachine) -> Reversible[None]:
    """Take off the note of a rescue that had changed nothing yet."""
    with in_flight.ending():
        vm.reconfigure(settings({extra_config.RESCUE: "", extra_config.WORKER: ""}))
    yield
