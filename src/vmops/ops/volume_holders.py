"""Who has a volume: what keeps others from it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from vmops.errors import InstanceNotFound, ManagedObjectNotFound, NotFound, VolumeInUse
from vmops.model.block_devices import Volume
from vmops.vsphere.first_class_disks import FirstClassDisks
from vmops.vsphere.lookup import find_vm
from vmops.vsphere.moref import reference
from vmops.vsphere.session import Session


def held_by(volume: Volume, holders: Sequence[str]) -> VolumeInUse:
    """The error that names who has a volume."""
    return VolumeInUse(
        f"Volume {volume.label} is attached to {' and '.join(holders)}. Detach it first."
    )


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
