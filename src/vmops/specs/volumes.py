"""Volumes' disks that come to a virtual machine and leave it, and the VMs that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyVmomi import vim

from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.entity_name import escaped
from vmops.model.image import AdapterType
from vmops.specs import disks
from vmops.specs.extra_config import option_values
from vmops.specs.places import Place, Places

VOLUME_KEY = -500
"""Temporary key of a volume's disk; the server gives it one of its own."""


def attach_volume(
    disk: vim.vm.device.VirtualDeviceSpec,
    *,
    controllers: Sequence[vim.vm.device.VirtualDeviceSpec],
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
    disk: vim.vm.device.VirtualDeviceSpec, *, controllers: Sequence[vim.vm.device.VirtualDeviceSpec]
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that attaches a disk of `volume_disk` and nothing more."""
    return vim.vm.ConfigSpec(deviceChange=[*controllers, disk])


def remove_disk(disk_key: int, *, destroy: bool) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that takes a disk off, and with ``destroy`` deletes its file."""
    return vim.vm.ConfigSpec(deviceChange=[disks.remove_disk(disk_key, destroy=destroy)])


def volume_disk(
    path: DatastorePath, capacity_bytes: int, place: Place, *, profile_id: str = ""
) -> vim.vm.device.VirtualDeviceSpec:
    """The device change that adds a disk that is there; ``profile_id`` is its storage policy."""
    change = disks.add_disk(VOLUME_KEY, capacity_bytes, place, disks.flat_backing(path))
    if profile_id:
        change.profile = [vim.vm.DefinedProfileSpec(profileId=profile_id)]
    return change


def add_controllers(
    controllers: Sequence[vim.vm.device.VirtualDeviceSpec], change_version: str
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
        deviceChange=[disks.remove_disk(disk_key)],
        extraConfig=option_values(settings),
        changeVersion=change_version or None,
    )


def hold_elsewhere(
    stale_key: int | None, path: DatastorePath, capacity_bytes: int, place: Place
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` by which a shadow VM holds its disk at another path."""
    stale = [] if stale_key is None else [disks.remove_disk(stale_key)]
    added = disks.add_disk(VOLUME_KEY, capacity_bytes, place, disks.flat_backing(path))
    return vim.vm.ConfigSpec(deviceChange=[*stale, added])


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
    backing = disks.flat_backing(None, thin=True)
    disk = disks.add_disk(VOLUME_KEY, capacity_bytes, place, backing, create=True)
    spec = vim.vm.ConfigSpec(
        name=escaped(name),
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
