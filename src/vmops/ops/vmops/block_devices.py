"""The border for block devices: Nova's ``block_device_info`` and ``connection_info`` become typed.

The shapes are those of `nova.virt.block_device` and of Cinder's drivers; neither is imported. Our
own dataclasses pass unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vmops.errors import Invalid, NotSupported, UnsupportedDevice
from vmops.model.block_devices import (
    BlockDevices,
    EphemeralDisk,
    Volume,
    VolumeAttachment,
    VolumeKind,
)
from vmops.model.image import SCSI_MODELS, AdapterType
from vmops.ops.vmops.shapes import Shape, field

_ADAPTERS = {adapter.value.lower(): adapter for adapter in AdapterType} | SCSI_MODELS
# A bus that does not say which adapter it means: the root disk's is taken.
_ANY_ADAPTER = {"", "scsi"}


def parse_block_devices(block_device_info: Shape) -> BlockDevices:
    """Volumes, ephemeral disks and swap of an instance; None is none.

    The instance boots from the volume whose ``boot_index`` is 0, or, where no volume has a boot
    index, from the one whose ``mount_device`` is the ``root_device_name``.

    Raises:
        Invalid: a volume has no id or no place, or two are to be booted from.
        NotSupported: a volume is of a kind that vSphere does not have.
        UnsupportedDevice: a disk asks for a bus that does not exist.
    """
    if isinstance(block_device_info, BlockDevices):
        return block_device_info
    info = block_device_info or {}
    root = field(info, "root_device_name", default="")
    mapping = field(info, "block_device_mapping", default=())
    is_indexed = any(_boot_index(entry) is not None for entry in mapping)
    return BlockDevices(
        volumes=tuple(_parse_mapping(entry, "" if is_indexed else root) for entry in mapping),
        ephemerals=tuple(
            EphemeralDisk(
                size_gib=int(field(entry, "size", default=0)),
                adapter=parse_adapter(field(entry, "disk_bus")),
            )
            for entry in field(info, "ephemerals", default=())
        ),
        swap_mib=int(field(field(info, "swap", default={}), "swap_size", default=0)),
    )


def parse_attachment(connection_info: Shape, adapter_type: object = None) -> VolumeAttachment:
    """A volume that is to be attached, from its connection and the adapter it is wanted on.

    Raises as `parse_block_devices`.
    """
    if isinstance(connection_info, VolumeAttachment):
        return connection_info
    volume = parse_volume(connection_info)
    data = {} if isinstance(connection_info, Volume) else _data(_loaded(connection_info))
    adapter = parse_adapter(adapter_type) or parse_adapter(field(data, "adapter_type"))
    return VolumeAttachment(volume=volume, adapter=adapter)


def parse_volume(connection_info: Shape) -> Volume:
    """A volume from its connection: ours, Cinder's mapping, or that as JSON.

    Raises as `parse_block_devices`.
    """
    if isinstance(connection_info, VolumeAttachment):
        return connection_info.volume
    if isinstance(connection_info, Volume):
        return connection_info
    info = _loaded(connection_info)
    data = _data(info)
    kind = str(field(info, "driver_volume_type", default=""))
    if kind not in {each.value for each in VolumeKind}:
        known = ", ".join(VolumeKind)
        raise NotSupported(f"Volumes of type {kind!r} cannot be attached here. Known: {known}.")
    volume = Volume(
        id=str(field(data, "volume_id") or field(info, "serial", "volume_id") or ""),
        kind=VolumeKind(kind),
        backing=str(field(data, _BACKINGS[VolumeKind(kind)], default="")),
        datastore=str(field(data, "ds_ref_val", default="")),
        target_portal=str(field(data, "target_portal", default="")),
        target_iqn=str(field(data, "target_iqn", default="")),
        target_lun=int(field(data, "target_lun", default=0)),
        profile_id=str(field(data, "profile_id", default="")),
        connection_info=info,
    )
    is_first_class = volume.kind is VolumeKind.FIRST_CLASS_DISK
    if not volume.backing or (is_first_class and not volume.datastore):
        raise Invalid(f"The connection of volume {volume.id} does not say where its disk is.")
    return volume


def connection_of(volume: Volume) -> Any:
    """A volume's connection as its service gave it, or made up from what is known of it."""
    if volume.connection_info is not None:
        return volume.connection_info
    data: dict[str, Any] = {
        "volume_id": volume.id,
        _BACKINGS[volume.kind]: volume.backing,
        "ds_ref_val": volume.datastore,
        "target_portal": volume.target_portal,
        "target_iqn": volume.target_iqn,
        "target_lun": volume.target_lun,
        "profile_id": volume.profile_id,
    }
    return {
        "driver_volume_type": volume.kind.value,
        "serial": volume.id,
        "data": {key: value for key, value in data.items() if value},
    }


# Which value of the connection's data names the volume's disk.
_BACKINGS = {
    VolumeKind.VMDK: "volume",
    VolumeKind.FIRST_CLASS_DISK: "id",
    VolumeKind.ISCSI: "target_iqn",
}


def parse_adapter(name: object) -> AdapterType | None:
    """The adapter of Nova's word for a disk bus or a SCSI model; None where it says nothing.

    Raises:
        UnsupportedDevice: there is no such bus.
    """
    if name is None or isinstance(name, AdapterType):
        return name
    word = str(name).lower()
    if word in _ANY_ADAPTER:
        return None
    if word not in _ADAPTERS:
        known = ", ".join(AdapterType)
        raise UnsupportedDevice(f"There is no disk bus {name!r}. Known: {known}.")
    return _ADAPTERS[word]


def _parse_mapping(entry: Shape, root: str) -> VolumeAttachment:
    if isinstance(entry, VolumeAttachment):
        return entry
    mount = str(field(entry, "mount_device", default=""))
    index = _boot_index(entry)
    if index is None and root and _device_name(mount) == _device_name(root):
        index = 0
    connection = field(entry, "connection_info")
    if connection is None:
        raise Invalid(f"The volume for {mount or 'a disk'} has no connection.")
    found = parse_attachment(connection, field(entry, "disk_bus"))
    return VolumeAttachment(
        volume=found.volume, adapter=found.adapter, mount_device=mount, boot_index=index
    )


def _boot_index(entry: Shape) -> int | None:
    if isinstance(entry, VolumeAttachment):
        return entry.boot_index
    index = field(entry, "boot_index")
    return None if index is None else int(index)


def _device_name(name: str) -> str:
    return str(name).removeprefix("/dev/")


def _loaded(connection_info: Shape) -> Any:
    if not isinstance(connection_info, str):
        return connection_info
    try:
        loaded = json.loads(connection_info)
    except ValueError:
        loaded = None
    if not isinstance(loaded, Mapping):
        raise Invalid("The connection of a volume is neither a mapping nor one as JSON.")
    return loaded


def _data(info: Shape) -> Any:
    return field(info, "data", default={})
