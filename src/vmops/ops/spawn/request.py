"""What is to be spawned, as the steps of a spawn see it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vmops.errors import Invalid
from vmops.images.config_drive import ConfigDrive
from vmops.model.block_devices import BlockDevices, EphemeralDisk
from vmops.model.hardware import Hardware, machine_hardware
from vmops.model.image import AdapterType, Image, ImageProperties
from vmops.model.instance import Flavor, Instance, Requester, Vif
from vmops.model.size import Size
from vmops.ops.engine.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRequest:
    """What to spawn: from an image, or from a volume if ``devices`` have one to boot from.

    ``volume_properties`` are the image properties of an instance that boots from a volume.

    Raises:
        InstanceUnacceptable: flavor and image contradict each other, or no machine can be so.
    """

    instance: Instance
    image: Image | None
    vifs: tuple[Vif, ...] = ()
    devices: BlockDevices = field(default_factory=BlockDevices)
    config_drive: ConfigDrive | None = None
    volume_properties: ImageProperties = field(default_factory=ImageProperties)
    linked_clone: bool | None = None
    """None: the image's property decides, then the engine's setting."""
    power_on: bool = True
    extra_config: tuple[tuple[str, str], ...] = ()
    requester: Requester = Requester()  # noqa: RUF009 - it is frozen
    hardware: Hardware = field(init=False)
    """What flavor and image together make of the machine, and its size."""
    size: Size = field(init=False)

    def __post_init__(self) -> None:
        flavor, wishes = self.instance.flavor, self.properties.hardware
        object.__setattr__(self, "size", flavor.size_for(wishes.topology))
        hardware = machine_hardware(
            flavor.hardware, wishes, self.properties.firmware, self.properties.guest_id
        )
        object.__setattr__(self, "hardware", hardware)
        if self.image is None and self.devices.root_volume is None:
            raise Invalid("The instance has neither an image nor a volume to boot from.")
        if self.image is not None and self.devices.root_volume is not None:
            raise Invalid("The instance has both an image and a volume to boot from.")

    @property
    def properties(self) -> ImageProperties:
        """What the image, or the one that the volume was made from, asks of the machine."""
        return self.volume_properties if self.image is None else self.image.properties

    @property
    def iso_image(self) -> Image | None:
        """The image if it is an ISO image; it has no disk in it."""
        return self.image if self.image is not None and self.image.disk_format == "iso" else None

    @property
    def root_adapter(self) -> AdapterType:
        """The adapter of the root disk, which disks that do not say theirs share."""
        root = self.devices.root_volume
        return (root.adapter if root is not None else None) or self.properties.adapter_type


def is_linked_clone(engine: Engine, request: SpawnRequest) -> bool:
    """Whether the root disk is a linked clone: the request decides, the image, the settings."""
    for choice in (request.linked_clone, request.properties.linked_clone):
        if choice is not None:
            return choice
    return engine.settings.linked_clone


def with_flavors_disks(devices: BlockDevices, flavor: Flavor) -> BlockDevices:
    """The same with the flavor's ephemeral and swap disk where ``devices`` name none."""
    if not devices.ephemerals and flavor.ephemeral_gib:
        devices = replace(devices, ephemerals=(EphemeralDisk(size_gib=flavor.ephemeral_gib),))
    if not devices.swap_mib and flavor.swap_mib:
        devices = replace(devices, swap_mib=flavor.swap_mib)
    return devices
