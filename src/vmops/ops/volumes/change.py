"""What attaching and detaching a volume share: one look, what keeps from it, and one sure change.

A volume of kind vmdk is the disk of a shadow VM, which is never powered on. It is attached by its
path; ``volume-<volume id>`` in the instance's ``extraConfig`` then has the disk's UUID, by which it
is found again wherever the server moves it. A first class disk is known by its own id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmops.errors import UNANSWERED, Busy, InvalidPowerState, NotSupported, UnsupportedDevice
from vmops.model.block_devices import Volume, VolumeKind
from vmops.model.image import AdapterType
from vmops.model.power import PowerState
from vmops.ops.engine.own_disks import volume_disk
from vmops.ops.guard.preconditions import refuse_rescued, refuse_suspended
from vmops.ops.guard.states import called
from vmops.ops.notes.volumes import noted_volumes
from vmops.steps import Reversible, noting, step
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles
from vmops.vsphere.objects.vm_hardware import VmHardware
from vmops.vsphere.objects.vm_volumes import VolumeView, look_at_volume
from vmops.vsphere.session import Session

# How often a change is planned anew because somebody else has changed the VM meanwhile.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A VM and a volume, as they were seen; ``name`` is how messages call the instance."""

    session: Session
    vm: VirtualMachine
    name: str
    volume: Volume
    view: VolumeView

    @property
    def hardware(self) -> VmHardware:
        """The VM's disks and controllers, as they were read."""
        return self.view.hardware

    @property
    def files(self) -> VmFiles:
        """The VM's files, as they were read."""
        return self.view.hardware.files

    @property
    def disk(self) -> VmDisk | None:
        """The volume's disk at the VM; None if it is not attached."""
        return volume_disk(self.files, volume_key(self.volume))

    @property
    def is_first_class(self) -> bool:
        """Whether the volume is a first class disk."""
        return self.volume.kind is VolumeKind.FIRST_CLASS_DISK


def refuse_iscsi(volume: Volume) -> None:
    """Refuse what this version has never been seen to do.

    Raises:
        NotSupported: it is an iSCSI volume.
    """
    if volume.kind is VolumeKind.ISCSI:
        raise NotSupported(
            f"Volume {volume.label} is on an iSCSI target ({volume.target_iqn}). This version"
            " attaches vmdk volumes and first class disks only."
        )


def volume_key(volume: Volume) -> str:
    """What notes a volume at its instance: its id, or its first class disk's."""
    return volume.backing if volume.kind is VolumeKind.FIRST_CLASS_DISK else volume.id


def attached_volumes(files: VmFiles) -> tuple[str, ...]:
    """The ids of a VM's volumes: those noted, and its first class disks'."""
    first_class = {disk.first_class_id for disk in files.disks} - {""}
    return (*noted_volumes(files.extra_config), *sorted(first_class))


@step("Look at the VM and the volume")
def look_at(session: Session, vm: VirtualMachine, volume: Volume) -> Reversible[Subject]:
    """Read both in one call, and refuse a state in which no disk comes or goes."""
    has_shadow = volume.kind is VolumeKind.VMDK
    shadow = VirtualMachine.of(session, volume.backing) if has_shadow else None
    view = look_at_volume(session, vm, volume.id, shadow)
    files, name = view.hardware.files, called(vm)
    refuse_rescued(name, files.extra_config)
    refuse_suspended(name, files.extra_config, files.power_state)
    yield Subject(session=session, vm=vm, name=name, volume=volume, view=view)


def refuse_on_ide(subject: Subject, adapter: AdapterType) -> None:
    """Disks on IDE come and go only while the instance is off.

    Raises:
        InvalidPowerState: it is not.
    """
    is_off = subject.files.power_state is PowerState.POWERED_OFF
    if adapter is AdapterType.IDE and not is_off:
        raise InvalidPowerState(
            f"{subject.name} is running: a disk on IDE comes and goes only while it is off. Stop it"
            " first, or attach on another bus, such as paraVirtual."
        )


def retry_on_conflict(
    subject: Subject,
    do: Callable[[VmHardware, str], None],
    is_done: Callable[[VmDisk | None], bool],
) -> None:
    """Change the VM as it was seen; look again if somebody else has changed it meanwhile.

    Where that was the same change there is nothing left to do.

    ``do`` takes the hardware and the change version that it is to plan for.

    Raises:
        Busy: the VM was changed again and again, or another task works on it.
    """
    view = subject.view

    def once() -> None:
        do(view.hardware, view.change_version)

    for _ in range(_ATTEMPTS - 1):
        try:
            confirm_effect(subject, once, is_done)
        except (Busy, UnsupportedDevice) as refused:
            taken = view.hardware.used
            view = look_at_volume(subject.session, subject.vm, subject.volume.id, None)
            # Not every server tells of a conflict as one.
            if is_done(volume_disk(view.hardware.files, volume_key(subject.volume))):
                return
            if isinstance(refused, UnsupportedDevice) and view.hardware.used == taken:
                raise
        else:
            return
    confirm_effect(subject, once, is_done)


def confirm_effect(
    subject: Subject, do: Callable[[], None], is_done: Callable[[VmDisk | None], bool]
) -> None:
    """Do it; where no answer comes the VM itself tells whether it was done.

    ``is_done`` takes the volume's disk at the VM.
    """
    try:
        do()
    except UNANSWERED as lost:
        done = False
        with noting(lost, "find out what became of it"):
            wait_for_recent_tasks(subject.session, subject.vm.moref)
            done = is_done(volume_disk(subject.vm.files(), volume_key(subject.volume)))
        if not done or not isinstance(lost, Exception):
            if done:
                lost.add_note(
                    f"What was to be done with volume {subject.volume.label} was done all the same."
                )
            raise
