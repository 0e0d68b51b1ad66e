"""Who has a volume: what keeps others from it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from vmops.errors import (
    InstanceNotFound,
    ManagedObjectNotFound,
    NotFound,
    VolumeInUse,
    VolumeNotFound,
)
from vmops.model.block_devices import Volume, VolumeKind
from vmops.vsphere.objects.first_class_disks import FirstClassDisks
from vmops.vsphere.objects.lookup import find_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_volumes import volume_holders
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import reference


def held_by(volume: Volume, holders: Sequence[str]) -> VolumeInUse:
    """The error that names who has a volume."""
    return VolumeInUse(
        f"Volume {volume.label} is attached to {' and '.join(holders)}. Detach it first."
    )


def refuse_held(session: Session, volume: Volume) -> None:
    """Refuse a volume that a virtual machine has, as far as a read can tell; costs one call.

    Raises:
        VolumeInUse: one has it.
        VolumeNotFound: the volume's shadow VM is not there.
    """
    if volume.kind is VolumeKind.FIRST_CLASS_DISK:
        holders = first_class_holders(session, volume)
    else:
        try:
            shadow = VirtualMachine.of(session, volume.backing)
            holders = volume_holders(session, volume.id, shadow)
        except ManagedObjectNotFound as error:
            raise VolumeNotFound(volume.label) from error
    if holders:
        raise held_by(volume, holders)


def first_class_holders(session: Session, volume: Volume) -> tuple[str, ...]:
    """The names of the virtual machines that a first class disk says have it.

    Costs one call, and one for each of them. A disk that is elsewhere than is known, and a holder
    that is none of the server's virtual machines, are passed over: attaching tells more.
    """
    disks = FirstClassDisks(session)
    if not disks.is_there:
        return ()
    names = []
    with contextlib.suppress(NotFound):
        disk = disks.get(volume.backing, reference("Datastore", volume.datastore))
        for consumer in disk.consumers:
            with contextlib.suppress(InstanceNotFound, ManagedObjectNotFound):
                found = find_vm(session, consumer)
                names.append(str(found.read("name").get("name") or found.moid))
    return tuple(names)
