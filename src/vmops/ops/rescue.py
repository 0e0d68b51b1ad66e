"""Rescue and unrescue: boot an instance from another image, with its own disk beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self

from vmops.errors import InvalidState, NoRootDisk, NotRescued
from vmops.images.cache import CachedImage, CachePlace
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import Image
from vmops.model.power import PowerState
from vmops.ops.destroy import sort_files
from vmops.ops.engine import Engine
from vmops.ops.states import called
from vmops.progress import Observer
from vmops.specs import extra_config
from vmops.specs import rescue as specs
from vmops.specs.virtual_machine import settings
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.lookup import with_vm
from vmops.vsphere.virtual_machine import VirtualMachine
from vmops.vsphere.vm_files import VmDisk
from vmops.vsphere.vm_hardware import VmHardware


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueNote:
    """What unrescue needs to know; kept in the VM's extraConfig from before the first change."""

    disk: str
    """The rescue disk's datastore path."""
    boot_order: tuple[str | int, ...] = ()
    efi_quick_boot: str = ""

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """From JSON."""
        values = json.loads(text)
        return cls(
            disk=str(values["disk"]),
            boot_order=tuple(values["boot_order"]),
            efi_quick_boot=str(values["efi_quick_boot"]),
        )


def rescue(engine: Engine, instance_uuid: str, image: Image, observe: Observer) -> None:
    """Boot an instance from a rescue image; its own root disk is the second disk.

    1. Look at the VM
    2. Put the image in the datastore's cache
    3. Power off
    4. Note what has to be put back
    5. Copy the image to the rescue disk
    6. Attach the rescue disk
    7. Boot from the rescue disk
    8. Power on

    If anything fails the VM is as before, and runs if it ran.

    Raises:
        InstanceNotFound: there is no such instance.
        InvalidState: it is rescued already; nothing was changed.
        NoRootDisk: it has no disk that it boots from.
        UnsupportedDevice: there is no place left for a disk.
        ImageNotAcceptable, NoDiskSpace, TransferFailed: the image cannot be put there.
    """

    def do(vm: VirtualMachine) -> None:
        with Operation("rescue", observe) as run:
            hardware = run(look_at(vm, instance_uuid))
            root = root_disk(hardware, instance_uuid)
            target = own_folder(hardware, instance_uuid).joined(f"{instance_uuid}-rescue.vmdk")
            cached = run(cached_image(engine, image, target.datastore, observe))
            if hardware.files.power_state is not PowerState.POWERED_OFF:
                run(power_off(vm, hardware.files.power_state, observe))
            run(note_rescue(vm, hardware, target, observe))
            run(copy_to_rescue_disk(engine, cached, target, observe))
            run(attach_rescue_disk(vm, hardware, root, cached, target, observe))
            run(boot_from_rescue_disk(vm, target, observe))
            run(power_on(vm, observe))

    with_vm(engine.session, instance_uuid, do)


def unrescue(
    engine: Engine, instance_uuid: str, observe: Observer, *, power_on_after: bool = True
) -> None:
    """Put a rescued instance back: its own disk boots, the rescue disk is gone.

    1. Look at the VM
    2. Power off
    3. Detach the rescue disk and boot as before
    4. Delete what is left of the rescue disk
    5. Power on

    May be repeated after a failure or a crash at any point, of `rescue` as well as its own.

    Raises:
        InstanceNotFound: there is no such instance.
        NotRescued: it is not rescued; nothing was changed.
    """

    def do(vm: VirtualMachine) -> None:
        with Operation("unrescue", observe) as run:
            hardware = run(look_at_rescued(vm, instance_uuid))
            note = RescueNote.load(hardware.files.extra_config[extra_config.RESCUE])
            if hardware.files.power_state is not PowerState.POWERED_OFF:
                run(power_off_rescued(vm, observe))
            run(detach_rescue_disk(vm, hardware, note, observe))
            run(delete_rescue_disk(engine, note))
            if power_on_after:
                run(power_on(vm, observe))

    with_vm(engine.session, instance_uuid, do)


def root_disk(hardware: VmHardware, instance_uuid: str) -> VmDisk:
    """The disk that an instance boots from.

    It is the one with the lowest place: of its own disks, or of its volumes if it has only those.

    Raises:
        NoRootDisk: it has none.
    """
    disks = sorted(hardware.files.disks, key=lambda d: (d.controller_key, d.unit_number))
    own = [d for d in disks if d.uuid not in hardware.files.volume_disk_uuids]
    if not disks:
        raise NoRootDisk(f"Instance {instance_uuid} has no disk.")
    return (own or disks)[0]


def own_folder(hardware: VmHardware, instance_uuid: str) -> DatastorePath:
    """The VM's own folder, which is never a volume's.

    Raises:
        NoRootDisk: it has none.
    """
    folder = sort_files(hardware.files).folder
    if folder is None:
        raise NoRootDisk(f"Instance {instance_uuid} has no folder of its own on a datastore.")
    return folder


@step("Look at the VM")
def look_at(vm: VirtualMachine, instance_uuid: str) -> Reversible[VmHardware]:
    """Read it in one read, and refuse a second rescue."""
    hardware = vm.hardware()
    if hardware.files.extra_config.get(extra_config.RESCUE):
        raise InvalidState(f"{called(vm, instance_uuid)} is rescued already. Unrescue it first.")
    yield hardware


@step("Look at the VM")
def look_at_rescued(vm: VirtualMachine, instance_uuid: str) -> Reversible[VmHardware]:
    """Read it in one read, and refuse one that is not rescued."""
    hardware = vm.hardware()
    if not hardware.files.extra_config.get(extra_config.RESCUE):
        raise NotRescued(f"{called(vm, instance_uuid)} is not rescued.")
    yield hardware


@step("Put the image in the datastore's cache")
def cached_image(
    engine: Engine, image: Image, datastore: str, observe: Observer
) -> Reversible[CachedImage]:
    """Have the rescue image on the VM's datastore."""
    inventory = engine.session.inventory
    cluster = inventory.cluster(engine.cluster_name)
    place = inventory.datastore(datastore)
    yield engine.cache.fetch(
        image,
        CachePlace(
            datastore=place.name,
            datastore_moref=place.moref,
            vm_folder=inventory.datacenter(cluster.datacenter).vm_folder,
            resource_pool=cluster.resource_pool,
        ),
        0,
        observe,
    )


@step("Power off")
def power_off(vm: VirtualMachine, before: PowerState | None, observe: Observer) -> Reversible[None]:
    """Pull the plug; undone, a VM that ran runs again."""
    vm.power_off(observe=observe)
    yield
    if before is PowerState.POWERED_ON:
        vm.power_on(observe=observe)


@step("Power off")
def power_off_rescued(vm: VirtualMachine, observe: Observer) -> Reversible[None]:
    """Pull the plug of the rescue system."""
    vm.power_off(observe=observe)
    yield


@step("Note what has to be put back")
def note_rescue(
    vm: VirtualMachine, hardware: VmHardware, target: DatastorePath, observe: Observer
) -> Reversible[None]:
    """Write the note before the first change, so that unrescue works whatever dies after it."""
    note = RescueNote(
        disk=str(target),
        boot_order=tuple(specs.boot_order_keys(hardware.boot_order)),
        efi_quick_boot=hardware.files.extra_config.get(extra_config.EFI_QUICK_BOOT, ""),
    )
    vm.reconfigure(settings({extra_config.RESCUE: note.dump()}), observe=observe)
    yield
    vm.reconfigure(specs.end_rescue(None, note.boot_order, _as_before(note)), observe=observe)


def _as_before(note: RescueNote) -> dict[str, str]:
    return {extra_config.RESCUE: "", extra_config.EFI_QUICK_BOOT: note.efi_quick_boot}


@step("Copy the image to the rescue disk")
def copy_to_rescue_disk(
    engine: Engine, cached: CachedImage, target: DatastorePath, observe: Observer
) -> Reversible[None]:
    """Copy the cached image into the VM's own folder, also if it boots from a volume."""
    disks = engine.session.virtual_disk_manager
    disks.copy(cached.path, target, observe=observe)
    yield
    disks.delete(target, missing_ok=True)


@step("Attach the rescue disk")
def attach_rescue_disk(
    vm: VirtualMachine,
    hardware: VmHardware,
    root: VmDisk,
    cached: CachedImage,
    target: DatastorePath,
    observe: Observer,
) -> Reversible[None]:
    """Attach it beside the root disk, on a controller of the same kind."""
    slot = hardware.free_slot(root)
    spec = specs.attach_disk(target, cached.capacity_bytes, slot.controller_key, slot.unit_number)
    vm.reconfigure(spec, observe=observe)
    yield
    if (disk := _rescue_disk(vm.hardware(), str(target))) is not None:
        vm.detach_devices((disk.key,), observe=observe)


@step("Boot from the rescue disk")
def boot_from_rescue_disk(
    vm: VirtualMachine, target: DatastorePath, observe: Observer
) -> Reversible[None]:
    """Put it first, also where EFI would take its last choice; the note's undo takes it back."""
    disk = _rescue_disk(vm.hardware(), str(target))
    if disk is None:
        raise NoRootDisk(f"The rescue disk {target} is not attached.")
    vm.reconfigure(
        specs.boot_from(disk.key, {extra_config.EFI_QUICK_BOOT: "FALSE"}), observe=observe
    )
    yield


def _rescue_disk(hardware: VmHardware, path: str) -> VmDisk | None:
    return next((d for d in hardware.files.disks if d.file_name == path), None)


@step("Detach the rescue disk and boot as before")
def detach_rescue_disk(
    vm: VirtualMachine, hardware: VmHardware, note: RescueNote, observe: Observer
) -> Reversible[None]:
    """Remove the disk with its file, restore how the VM boots, and forget the note: one change."""
    disk = _rescue_disk(hardware, note.disk)
    spec = specs.end_rescue(disk.key if disk else None, note.boot_order, _as_before(note))
    vm.reconfigure(spec, observe=observe)
    yield


@step("Delete what is left of the rescue disk")
def delete_rescue_disk(engine: Engine, note: RescueNote) -> Reversible[None]:
    """A rescue that died before it attached its disk has left the file."""
    path = DatastorePath.parse(note.disk)
    if engine.session.datastore_files.exists(path):
        engine.session.virtual_disk_manager.delete(path, missing_ok=True)
    yield


@step("Power on")
def power_on(vm: VirtualMachine, observe: Observer) -> Reversible[None]:
    """Start the guest; undone, it is off."""
    vm.power_on(observe=observe)
    yield
    vm.power_off(observe=observe)
