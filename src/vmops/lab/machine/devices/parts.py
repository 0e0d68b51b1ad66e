"""The parts of a device that the lab's machines always have, and the API's types do not promise."""

from __future__ import annotations

import copy

from pyVmomi import vim

_FlatBacking = vim.vm.device.VirtualDisk.FlatVer2BackingInfo
_FileBacking = vim.vm.device.VirtualDevice.FileBackingInfo


def flat_backing(disk: vim.vm.device.VirtualDisk) -> _FlatBacking:
    """Return what a disk is kept in: the lab has flat files alone."""
    backing = disk.backing
    if not isinstance(backing, _FlatBacking):
        raise TypeError(f"the disk {disk.key} is in no flat file")
    return backing


def file_of(device: vim.vm.device.VirtualDevice) -> str:
    """Return the datastore path of the file behind a device."""
    backing = device.backing
    if not isinstance(backing, _FileBacking):
        raise TypeError(f"there is no file behind the device {device.key}")
    return backing.fileName


def with_file(device: vim.vm.device.VirtualDevice, name: str) -> _FileBacking:
    """Return a copy of a device's backing with another file."""
    backing = copy.copy(device.backing)
    if not isinstance(backing, _FileBacking):
        raise TypeError(f"there is no file behind the device {device.key}")
    backing.fileName = name
    return backing


def label_of(device: vim.vm.device.VirtualDevice) -> str:
    """Return what people call a device."""
    return "" if device.deviceInfo is None else device.deviceInfo.label


def plug_of(device: vim.vm.device.VirtualDevice) -> vim.vm.device.VirtualDevice.ConnectInfo:
    """Return whether and how a device that can be unplugged is plugged in."""
    plug = device.connectable
    if plug is None:
        raise TypeError(f"the device {device.key} cannot be unplugged")
    return plug
