"""The volumes of a new instance: the one that it boots from, and the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from vmops import in_flight
from vmops.model import extra_config
from vmops.model.block_devices import VolumeAttachment
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.placement import Placement
from vmops.ops.spawn.request import SpawnRequest
from vmops.ops.volumes.attach import attach_volume
from vmops.ops.volumes.change import refuse_iscsi
from vmops.ops.volumes.holders import refuse_held
from vmops.specs.virtual_machine import settings
from vmops.steps import Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session


class VolumeAttacher(Protocol):
    """Attaches volumes to the VM of a spawn, which the spawn's undo removes."""

    def check(self, attachment: VolumeAttachment) -> None:
        """Refuse, without a call, what cannot be attached."""

    def look(self, attachment: VolumeAttachment) -> None:
        """Refuse, before anything is there, what another instance has."""

    def attach(self, vm: VirtualMachine, attachment: VolumeAttachment) -> None:
        """Attach a volume; that it is the root disk or not is its boot index."""

    def attach_root(
        self, vm: VirtualMachine, attachment: VolumeAttachment, place: Placement
    ) -> None:
        """Attach the volume that the instance boots from, and note that."""


@dataclass(frozen=True, slots=True)
class OwnAttacher:
    """Attaches volumes with the engine itself."""

    session: Session

    def check(self, attachment: VolumeAttachment) -> None:
        """See `VolumeAttacher`."""
        refuse_iscsi(attachment.volume)

    def look(self, attachment: VolumeAttachment) -> None:
        """See `VolumeAttacher`."""
        refuse_held(self.session, attachment.volume)

    def attach(self, vm: VirtualMachine, attachment: VolumeAttachment) -> None:
        """See `VolumeAttacher`."""
        attach_volume(vm, attachment)

    def attach_root(
        self, vm: VirtualMachine, attachment: VolumeAttachment, place: Placement
    ) -> None:
        """See `VolumeAttacher`; the volume stays on its datastore."""
        attach_volume(vm, attachment, as_root=True)


@step("Attach the root volume")
def attach_root_volume(
    request: SpawnRequest,
    attachment: VolumeAttachment,
    vm: VirtualMachine,
    place: Placement,
    attacher: VolumeAttacher,
) -> Reversible[None]:
    """Let the volume be the first disk."""
    attacher.attach_root(vm, _with_adapter(attachment, request), place)
    yield


@step("Attach the volumes")
def attach_volumes(
    engine: Engine, request: SpawnRequest, vm: VirtualMachine, attacher: VolumeAttacher
) -> Reversible[None]:
    """Attach the others in order; then take off the mark of the spawn: the instance is whole."""
    for attachment in request.devices.data_volumes:
        attacher.attach(vm, _with_adapter(attachment, request))
    with in_flight.ending():
        vm.reconfigure(settings({extra_config.OPERATION: ""}))
    yield


def _with_adapter(attachment: VolumeAttachment, request: SpawnRequest) -> VolumeAttachment:
    return replace(attachment, adapter=attachment.adapter or request.root_adapter)
