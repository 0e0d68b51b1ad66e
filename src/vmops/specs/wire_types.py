"""Names for the wire's types, for those above who only pass such objects on."""

from __future__ import annotations

from typing import TypeAlias

from pyVmomi import vim

ConfigSpec: TypeAlias = vim.vm.ConfigSpec
RelocateSpec: TypeAlias = vim.vm.RelocateSpec
SnapshotInfo: TypeAlias = vim.vm.SnapshotInfo
SnapshotTree: TypeAlias = vim.vm.SnapshotTree
VirtualDevice: TypeAlias = vim.vm.device.VirtualDevice
