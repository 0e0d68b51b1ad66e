"""The disks of an instance beside its image: volumes, ephemeral disks, swap."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vmops import units
from vmops.errors import Invalid
from vmops.model.image import AdapterType
from vmops.model.maximums import check_disk

# Ids become keys of extraConfig, and parts of property paths.
_ID = re.compile(r"^[\w.:-]{1,200}\Z", re.ASCII)


class VolumeKind(StrEnum):
    """How a volume is reached; the values are Cinder's ``driver_volume_type``."""

    VMDK = "vmdk"
    FIRST_CLASS_DISK = "vstorageobject"
    ISCSI = "iscsi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume as its service names it.

    ``backing`` is the managed object id of the shadow VM that holds a vmdk volume's disk, or a
    first class disk's id; ``datastore`` is the id of the datastore of a first class disk.
    """

    id: str
    kind: VolumeKind
    backing: str = ""
    datastore: str = ""
    target_portal: str = ""
    target_iqn: str = ""
    target_lun: int = 0
    profile_id: str = ""
    """The storage policy that its disk has; "" leaves it as it is."""
    name: str = field(default="", compare=False)
    """What people call it, where that is known: messages do, too."""
    connection_info: Any = field(default=None, compare=False, repr=False)
    """What the service gave, unread: for a volume engine of the caller's own."""

    def __post_init__(self) -> None:
        if not self.id:
            raise Invalid("A volume has no id.")
        if not _ID.match(self.id):
            raise Invalid(f"{self.id!r} is not a volume's id.")

    @property
    def label(self) -> str:
        """How messages call it: by its name, else by its id."""
        return self.name or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeAttachment:
    """A volume and how an instance wants it; ``adapter`` None takes the root disk's."""

    volume: Volume
    adapter: AdapterType | None = None
    mount_device: str = ""
    boot_index: int | None = None
    """0: the instance boots from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EphemeralDisk:
    """An empty disk that lives and dies with its instance; ``adapter`` None: the root disk's."""

    size_gib: int
    adapter: AdapterType | None = None

    def __post_init__(self) -> None:
        if self.size_gib < 1:
            raise Invalid(f"An ephemeral disk of {self.size_gib} GiB: it needs at least 1.")
        check_disk("An ephemeral disk", units.gib_to_bytes(self.size_gib), Invalid)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDevices:
    """What an instance has beside its root disk's image, in order; ``swap_mib`` 0 is no swap."""

    volumes: tuple[VolumeAttachment, ...] = ()
    ephemerals: tuple[EphemeralDisk, ...] = ()
    swap_mib: int = 0

    def __post_init__(self) -> None:
        check_disk("A swap disk", units.mib_to_bytes(self.swap_mib), Invalid)
        if sum(v.boot_index == 0 for v in self.volumes) > 1:
            raise Invalid("An instance boots from one volume only.")
        seen: set[str] = set()
        for each in self.volumes:
            if each.volume.id in seen:
                raise Invalid(f"Volume {each.volume.label} is given twice.")
            seen.add(each.volume.id)

    @property
    def root_volume(self) -> VolumeAttachment | None:
        """The volume that the instance boots from; None: it boots from its image."""
        return next((v for v in self.volumes if v.boot_index == 0), None)

    @property
    def data_volumes(self) -> tuple[VolumeAttachment, ...]:
        """The volumes that the instance has besides the one it boots from, in order."""
        return tuple(v for v in self.volumes if v.boot_index != 0)
