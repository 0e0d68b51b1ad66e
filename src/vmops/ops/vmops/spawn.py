"""The method of `VMwareVMOps` that makes an instance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vmops.model import extra_config as keys
from vmops.model.block_devices import VolumeAttachment
from vmops.ops.engine.placement import Placement
from vmops.ops.spawn.request import SpawnRequest, with_flavors_disks
from vmops.ops.spawn.spawn import spawn
from vmops.ops.vmops import shapes
from vmops.ops.vmops.base import EngineBase
from vmops.ops.vmops.block_devices import connection_of, parse_block_devices
from vmops.ops.vmops.config_drive_shapes import GuestData, make_config_drive
from vmops.ops.vmops.shapes import Shape
from vmops.ops.volumes.change import volume_key
from vmops.specs.virtual_machine import settings
from vmops.vsphere.objects.virtual_machine import VirtualMachine


@dataclass(frozen=True, slots=True)
class GivenAttacher:
    """The way of an object of the caller's own, with the methods of Nova's ``VMwareVolumeOps``."""

    volumeops: Any
    instance: Any
    """As it was given."""

    def check(self, attachment: VolumeAttachment) -> None:
        """See `VolumeAttacher`; the object refuses by itself."""

    def look(self, attachment: VolumeAttachment) -> None:
        """See `VolumeAttacher`; the object looks by itself."""

    def attach(self, vm: VirtualMachine, attachment: VolumeAttachment) -> None:
        """See `VolumeAttacher`."""
        connection = connection_of(attachment.volume)
        self.volumeops.attach_volume(connection, self.instance, attachment.adapter)

    def attach_root(
        self, vm: VirtualMachine, attachment: VolumeAttachment, place: Placement
    ) -> None:
        """See `VolumeAttacher`; the note is ours."""
        self.volumeops.attach_root_volume(
            connection_of(attachment.volume),
            self.instance,
            place.datastore.moref,
            attachment.adapter,
        )
        vm.reconfigure(settings({keys.ROOT_VOLUME: volume_key(attachment.volume)}))


class SpawnMethods(EngineBase):
    """`VMwareVMOps.spawn` and what it passes on."""

    def spawn(  # noqa: PLR0913 - the signature is Nova's
        self,
        context: Any,
        instance: Shape,
        image_meta: Shape,
        network_info: Iterable[Shape] | None,
        block_device_info: Shape = None,
        *,
        linked_clone: bool | None = None,
        power_on: bool = True,
        extra_config: dict[str, str] | None = None,
        config_drive: bool | None = None,
        user_data: bytes | str | None = None,
        injected_files: Iterable[tuple[str, bytes | str]] | None = None,
        public_keys: Mapping[str, str] | None = None,
        admin_password: str | None = None,
    ) -> None:
        """Create a VM from an image and power it on; see `spawn.spawn.spawn` for the steps.

        ``linked_clone``, if given, wins over the image's property and the engine's setting;
        ``extra_config`` is added to the VM's. An instance that boots from a volume needs no image;
        of one that is given only the properties count. Where ``block_device_info`` has no ephemeral
        or swap disk, the flavor's are made.

        ``config_drive`` None gives the instance a config drive if its own ``config_drive``, its
        image or the engine's settings say so, or if there is ``user_data``, an injected file (path
        in the guest and content) or a public key (by name). What is given here wins over what the
        instance has.
        """
        parsed = shapes.parse_instance(instance)
        vifs = shapes.parse_vifs(network_info, self._settings.default_network)
        devices = with_flavors_disks(parse_block_devices(block_device_info), parsed.flavor)
        given = self._volumeops
        attacher = GivenAttacher(given, instance) if given is not None else None
        guest = GuestData(
            wanted=config_drive,
            user_data=user_data,
            injected_files=tuple(injected_files or ()),
            public_keys=public_keys,
            admin_password=admin_password,
        )
        image = None if devices.root_volume else shapes.parse_image(image_meta, self._images)
        properties = image.properties if image else shapes.parse_image_properties(image_meta)
        is_required = properties.needs_config_drive or self._settings.force_config_drive
        request = SpawnRequest(
            instance=parsed,
            image=image,
            volume_properties=properties,
            vifs=vifs,
            devices=devices,
            config_drive=make_config_drive(instance, parsed, vifs, guest, is_required=is_required),
            linked_clone=linked_clone,
            power_on=power_on,
            extra_config=tuple((extra_config or {}).items()),
            requester=shapes.parse_requester(context),
        )
        with self._alone(request.instance.uuid, "spawn"):
            spawn(self._engine, request, attacher)
