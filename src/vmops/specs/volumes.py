"""Volumes' disks that come to a virtual machine and leave it, and the VMs that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops import units
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.specs.extra_config import option_values
from vmops.specs.places import Place, Places

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDeviceSpec

VOLUME_KEY = -500
"""Temporary key of a volume's disk; the server gives it one of its own."""

_change = vim.vm.device.VirtualDeviceSpec


def attach_volume(
    disk: VirtualDeviceSpec,
    *,
    controllers: Sequence[VirtualDeviceSpec],
    settings: Mapping[str, str],
    change_version: str,
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that attaches a disk of `volume_disk` and sets extraConfig keys.

    ``controllers`` are the changes that add what the disk sits on. The server refuses if the VM was
    changed since ``change_version``; "" asks for no such check.
    """
    spec = attach_disk(disk, controllers=controllers)
    spec.extraConfig = option_values(settings)
    spec.changeVersion = change_version or None
    return spec


def attach_disk(
    disk: VirtualDeviceSpec, *, controllers: Sequence[VirtualDeviceSpec]
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that attaches a disk of `volume_disk` and nothing more."""
    return vim.vm.ConfigSpec(deviceChange=[*controllers, disk])


def remove_disk(disk_key: int, *, destroy: bool) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that takes a disk off, and with ``destroy`` deletes its file."""
    removal = _removal(disk_key)
    if destroy:
        removal.fileOperation = _change.FileOperation.destroy
    return vim.vm.ConfigSpec(deviceChange=[removal])


def volume_disk(
    path: DatastorePath, capacity_bytes: int, place: Place, *, profile_id: str = ""
) -> _change:
    """The device change that adds a disk that is there; ``profile_id`` is its storage policy."""
    change = _change(operation="add", device=_disk(str(path), capacity_bytes, place))
    if profile_id:
        change.profile = [vim.vm.DefinedProfileSpec(profileId=profile_id)]
    return change


def _disk(
    file_name: str, capacity_bytes: int, place: Place, **backing: object
) -> vim.vm.device.VirtualDisk:
    return vim.vm.device.VirtualDisk(
        key=VOLUME_KEY,
        controllerKey=place.controller_key,
        unitNumber=place.unit_number,
        capacityInKB=units.bytes_to_kib(capacity_bytes),
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=file_name, diskMode="persistent", **backing
        ),
    )


def add_controllers(
    controllers: Sequence[VirtualDeviceSpec], change_version: str
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that adds controllers; see `attach_volume`."""
    return vim.vm.ConfigSpec(deviceChange=list(controllers), changeVersion=change_version or None)


def detach_volume(
    disk_key: int, settings: Mapping[str, str], change_version: str
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that takes a disk off, leaving its file, and sets extraConfig keys.

    See `attach_volume` for ``change_version``.
    """
    return vim.vm.ConfigSpec(
        deviceChange=[_removal(disk_key)],
        extraConfig=option_values(settings),
        changeVersion=change_version or None,
    )


def hold_elsewhere(
    stale_key: int | None, path: DatastorePath, capacity_bytes: int, place: Place
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` by which a shadow VM holds its disk at another path."""
    stale = [] if stale_key is None else [_removal(stale_key)]
    added = _change(operation="add", device=_disk(str(path), capacity_bytes, place))
    return vim.vm.ConfigSpec(deviceChange=[*stale, added])


def _removal(key: int) -> _change:
    # No file operation: the file stays.
    return _change(operation="remove", device=vim.vm.device.VirtualDisk(key=key, capacityInKB=0))


def shadow_vm(
    name: str,
    volume_id: str,
    datastore: str,
    capacity_bytes: int,
    *,
    adapter: AdapterType = AdapterType.LSI_LOGIC,
    profile_id: str = "",
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` of a VM that is never powered on and holds a new thin disk.

    Its instance UUID is the volume's id, by which volume services of vSphere find it.
    """
    places = Places()
    place = places.take(adapter)
    disk = _change(
        operation="add",
        fileOperation="create",
        device=_disk("", capacity_bytes, place, thinProvisioned=True),
    )
    spec = vim.vm.ConfigSpec(
        name=name,
        instanceUuid=volume_id,
        guestId="otherGuest",
        numCPUs=1,
        memoryMB=128,
        annotation=f"Holds the disk of the volume {name}. It is never powered on.",
        files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
        deviceChange=[*places.changes(), disk],
        extraConfig=option_values({extra_config.MADE_VOLUME: volume_id}),
    )
    if profile_id:
        policy = vim.vm.DefinedProfileSpec(profileId=profile_id)
        spec.vmProfile = [policy]
        disk.profile = [policy]
    return spec
