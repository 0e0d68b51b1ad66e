"""Detach a volume: its disk leaves an instance, and stays."""

from __future__ import annotations

from vmops.errors import Busy, InvalidState, VolumeNotAttached
from vmops.model import extra_config
from vmops.model.block_devices import Volume
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine.own_disks import volume_disk
from vmops.ops.volumes.change import (
    Subject,
    attached_volumes,
    confirm_effect,
    look_at,
    refuse_iscsi,
    refuse_on_ide,
    retry_on_conflict,
    volume_key,
)
from vmops.ops.volumes.moved import MovedVolume, forget_move, give_back, is_moved, moved_volumes
from vmops.specs import volumes as specs
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_hardware import VmHardware


def detach_volume(vm: VirtualMachine, volume: Volume) -> None:
    """Take a volume off an instance; its disk stays.

    1. Look at the VM and the volume
    2. Detach the volume's disk
       disk that the server had moved away from its shadow VM:
       2.1. Give the disk back to its shadow VM
       2.2. Forget where the disk was

    The disk is found by its UUID, or by its first class disk's id: it may have been moved. May be
    repeated after a failure at any point.

    Raises:
        InstanceNotFound: there is no such instance.
        VolumeNotAttached: it does not have the volume; the error names those that it has.
        InvalidPowerState: it is running and the disk is on IDE, or it is suspended.
        InvalidState: a snapshot of the instance has the disk, so that what was written since would
            be lost; or it is rescued or paused.
        NotSupported: it is an iSCSI volume.
    """
    refuse_iscsi(volume)
    with Operation("detach_volume") as run:
        subject = run(look_at(vm.session, vm, volume))
        _detach(run, subject)


def _detach(run: Operation, subject: Subject) -> None:
    volume, shadow, disk = subject.volume, subject.view.shadow, subject.disk
    left_at = moved_volumes(subject.files.extra_config).get(volume.id, "")
    if disk is None and not left_at:
        raise VolumeNotAttached(volume.label, subject.name, attached_volumes(subject.files))
    if disk is not None:
        refuse_on_ide(subject, subject.hardware.controller(disk.controller_key).adapter)
        _refuse_in_snapshot(subject, disk)
        if subject.is_first_class:
            run(detach_first_class_disk(subject))
            return
        left_at = disk.file_name if is_moved(shadow, disk) else ""
        run(detach_vmdk(subject, disk, left_at))
    if left_at and shadow is not None:
        moved = MovedVolume(
            id=volume.id,
            path=DatastorePath.parse(left_at),
            shadow=shadow,
            is_layered=disk is not None and bool(disk.parents),
        )
        run(give_back(subject.session, moved))
        run(forget_move(subject.vm, volume))


def _refuse_in_snapshot(subject: Subject, disk: VmDisk) -> None:
    """A snapshot's layer would stay with the VM, and what was written since with it."""
    shadow = subject.view.shadow
    held = shadow.disk if shadow is not None else None
    is_as_attached = held is not None and held.file_name == disk.file_name
    files = subject.files
    is_layered = disk.is_in_snapshots and disk.parents and not is_as_attached
    if files.needs_consolidation and is_layered:
        raise InvalidState(
            f"{subject.name} still writes to a removed snapshot's layer over the disk of volume"
            f" {subject.volume.label}: what was written since would be lost. Merge it first, with"
            " vmops audit --fix."
        )
    if files.has_snapshots and is_layered:
        raise InvalidState(
            f"A snapshot of {subject.name} has the disk of volume {subject.volume.label}: what was"
            " written since would be lost. Delete the instance's snapshots first."
        )


@step("Detach the volume's disk")
def detach_first_class_disk(subject: Subject) -> Reversible[None]:
    """Take it off by its id."""
    confirm_effect(
        subject,
        lambda: subject.vm.detach_first_class_disk(subject.volume.backing),
        lambda disk: disk is None,
    )
    yield


@step("Detach the volume's disk")
def detach_vmdk(subject: Subject, disk: VmDisk, left_at: str) -> Reversible[None]:
    """Take it off, forget its UUID, and note where it is if it was moved: one change."""
    volume = subject.volume
    notes = {f"{extra_config.VOLUME_PREFIX}{volume.id}": ""}
    if left_at:
        notes[extra_config.MOVED_VOLUME.format(volume=volume.id)] = left_at

    def detach(hardware: VmHardware, change_version: str) -> None:
        there = volume_disk(hardware.files, volume_key(volume))
        if there is None or there.file_name != disk.file_name:
            raise Busy(f"The disk of volume {volume.label} was moved just now. Try again.")
        spec = specs.detach_volume(there.key, notes, change_version)
        subject.vm.reconfigure(spec)

    retry_on_conflict(subject, detach, lambda found: found is None)
    yield
