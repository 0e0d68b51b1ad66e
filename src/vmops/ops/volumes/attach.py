"""Attach a volume: its disk comes to an instance, which may be running."""

from __future__ import annotations

from vmops.errors import (
    Busy,
    FileLocked,
    ManagedObjectNotFound,
    NotFound,
    UnsupportedDevice,
    VolumeInUse,
    VolumeNotFound,
)
from vmops.model import extra_config
from vmops.model.block_devices import Volume, VolumeAttachment
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.model.power import PowerState
from vmops.ops.engine.own_disks import volume_disk
from vmops.ops.volumes.change import (
    Subject,
    confirm_effect,
    look_at,
    refuse_iscsi,
    refuse_on_ide,
    retry_on_conflict,
    volume_key,
)
from vmops.ops.volumes.holders import first_class_holders, held_by
from vmops.specs import volumes as specs
from vmops.specs.places import Place, Places
from vmops.specs.rescue import boot_from
from vmops.specs.virtual_machine import settings
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.first_class_disks import FirstClassDisks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_hardware import VmHardware
from vmops.vsphere.wire.moref import describe, reference


def attach_volume(
    vm: VirtualMachine, attachment: VolumeAttachment, *, as_root: bool = False
) -> None:
    """Attach a volume to an instance, which may be running unless the disk is on IDE.

    1. Look at the VM and the volume
       first class disk, where no controller has room:
       1.1. Add a controller
    2. Attach the volume's disk
       root volume, with a first class disk or with other disks there before:
       2.1. Note what the VM boots from

    A volume of kind vmdk is attached in one change, with a new controller if none has room. One
    that is attached already is left as it is.

    Raises:
        InstanceNotFound: there is no such instance.
        VolumeNotFound: the volume's disk is not there.
        VolumeInUse: another virtual machine has it; the message names it where it is known.
        InvalidPowerState: it is running and the disk would be on IDE, or it is suspended.
        InvalidState: it is rescued or paused.
        UnsupportedDevice: there is no free place for the disk.
        NotSupported: it is an iSCSI volume.
    """
    refuse_iscsi(attachment.volume)
    with Operation("attach_volume") as run:
        subject = run(look_at(vm.session, vm, attachment.volume))
        if subject.disk is None:
            adapter = _adapter(subject, attachment)
            refuse_on_ide(subject, adapter)
            if subject.is_first_class:
                place = _place_that_is_there(subject.hardware, adapter)
                if place is None:
                    place = run(add_controller(subject, adapter))
                run(attach_first_class_disk(subject, adapter, place))
            else:
                _refuse_shadow(subject)
                run(attach_vmdk(subject, adapter, as_root=as_root))
        if as_root and not _is_noted(subject):
            run(note_root_volume(vm, attachment.volume, is_first=not subject.files.disks))


def _adapter(subject: Subject, attachment: VolumeAttachment) -> AdapterType:
    """The adapter that is wanted, else that of the first disk.

    Where the first disk is on no SCSI controller and the VM has one, that is taken, as one is added
    beside IDE while the VM runs: disks come and go there at any time.
    """
    if attachment.adapter is not None:
        return attachment.adapter
    first = min(subject.files.disks, key=lambda disk: disk.controller_key, default=None)
    if first is None:
        return AdapterType.LSI_LOGIC
    adapter = subject.hardware.controller(first.controller_key).adapter
    scsi = (c.adapter for c in subject.hardware.controllers if c.adapter.is_scsi)
    if adapter is AdapterType.IDE and subject.files.power_state is not PowerState.POWERED_OFF:
        return next(scsi, AdapterType.LSI_LOGIC)
    return adapter if adapter.is_scsi else next(scsi, adapter)


def _place_that_is_there(hardware: VmHardware, adapter: AdapterType) -> Place | None:
    """A free place on a controller that the VM has; None: it needs another one."""
    places = Places(hardware.controllers, hardware.used)
    place = places.take(adapter)
    return None if places.changes() else place


def _refuse_shadow(subject: Subject) -> None:
    shadow, volume = subject.view.shadow, subject.volume
    if shadow is None or shadow.disk is None:
        raise VolumeNotFound(volume.label)
    if holders := subject.view.holders:
        raise held_by(volume, holders)


def _is_noted(subject: Subject) -> bool:
    """Whether the root volume was noted before, or with the change that attached it."""
    if subject.files.extra_config.get(extra_config.ROOT_VOLUME) == volume_key(subject.volume):
        return True
    return not subject.is_first_class and not subject.files.disks


@step("Add a controller")
def add_controller(subject: Subject, adapter: AdapterType) -> Reversible[Place]:
    """Add one and see which key the server gave it; an empty one that stays does no harm."""
    places = Places(subject.hardware.controllers, subject.hardware.used)
    places.take(adapter)
    spec = specs.add_controllers(places.changes(), subject.view.change_version)
    subject.vm.reconfigure(spec)
    now = subject.vm.hardware()
    yield Places(now.controllers, now.used).take(adapter)


@step("Attach the volume's disk")
def attach_first_class_disk(
    subject: Subject, adapter: AdapterType, place: Place
) -> Reversible[None]:
    """Attach it by its id; the server knows who has it."""
    vm, volume = subject.vm, subject.volume
    try:
        try:
            _attach_where_there_is_room(subject, adapter, place)
        except NotFound as error:
            if isinstance(error, ManagedObjectNotFound) and error.moref == describe(vm.moref):
                raise
            moved_to = _other_datastore(subject)
            if moved_to is None:
                raise VolumeNotFound(volume.label) from error
            _attach_from(subject, moved_to, place)
    except (Busy, FileLocked) as error:
        if holders := first_class_holders(subject.session, volume):
            raise held_by(volume, holders) from error
        raise VolumeInUse(f"Volume {volume.label} cannot be attached now. {error}") from error
    yield
    vm.detach_first_class_disk(volume.backing)


def _attach_where_there_is_room(subject: Subject, adapter: AdapterType, place: Place) -> None:
    """Attach it there, or elsewhere if somebody else has put a disk there meanwhile.

    Another process may have attached this very volume: then there is nothing left to do.
    """
    try:
        _attach_from(subject, subject.volume.datastore, place)
    except (UnsupportedDevice, Busy, FileLocked) as refused:
        now = subject.vm.hardware()
        if volume_disk(now.files, volume_key(subject.volume)) is not None:
            return
        other = _place_that_is_there(now, adapter)
        if other is None or other == place or not isinstance(refused, UnsupportedDevice):
            raise
        _attach_from(subject, subject.volume.datastore, other)


def _attach_from(subject: Subject, datastore: str, place: Place) -> None:
    def attach() -> None:
        subject.vm.attach_first_class_disk(
            subject.volume.backing,
            reference("Datastore", datastore),
            place.controller_key,
            place.unit_number,
        )

    confirm_effect(subject, attach, lambda disk: disk is not None)


def _other_datastore(subject: Subject) -> str | None:
    """Where the server has moved the disk, which whoever knows the volume need not know."""
    there = subject.session.inventory.datastores()
    others = [d for d in there if d.accessible and d.moid != subject.volume.datastore]
    disks = FirstClassDisks(subject.session)
    found = disks.datastore_of(subject.volume.backing, others) if disks.is_there else None
    return found.moid if found is not None else None


@step("Attach the volume's disk")
def attach_vmdk(subject: Subject, adapter: AdapterType, *, as_root: bool) -> Reversible[None]:
    """Attach the shadow VM's disk and note its UUID, in one change."""
    volume, shadow = subject.volume, subject.view.shadow
    held = shadow.disk if shadow is not None else None
    if held is None:
        raise VolumeNotFound(volume.label)
    path, capacity_bytes = DatastorePath.parse(held.file_name), held.capacity_bytes
    notes = {f"{extra_config.VOLUME_PREFIX}{volume.id}": held.identity}
    if as_root:
        notes[extra_config.ROOT_VOLUME] = volume_key(volume)

    def attach(hardware: VmHardware, change_version: str) -> None:
        places = Places(hardware.controllers, hardware.used)
        place = places.take(adapter)
        spec = specs.attach_volume(
            specs.volume_disk(path, capacity_bytes, place, profile_id=volume.profile_id),
            controllers=places.changes(),
            settings=notes,
            change_version=change_version,
        )
        subject.vm.reconfigure(spec)

    try:
        retry_on_conflict(subject, attach, lambda disk: disk is not None)
    except FileLocked as error:
        raise VolumeInUse(
            f"Volume {volume.label} is in use by a running machine. {error}"
        ) from error
    yield


@step("Note what the VM boots from")
def note_root_volume(vm: VirtualMachine, volume: Volume, *, is_first: bool) -> Reversible[None]:
    """Write down which disk is the root disk, and put it first if there are others."""
    notes = {extra_config.ROOT_VOLUME: volume_key(volume)}
    spec = settings(notes)
    if not is_first:
        disk = volume_disk(vm.files(), volume_key(volume))
        if disk is None:
            raise VolumeNotFound(volume.label)
        spec = boot_from(disk.key, notes)
    vm.reconfigure(spec)
    yield
