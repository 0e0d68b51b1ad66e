"""A virtual machine after a spec that was planned: pure functions on its properties' values."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.units import kib_to_bytes
from vmops.vsphere.planning.plain_data import FIRST_PLANNED_KEY
from vmops.vsphere.planning.world import EXTRA_CONFIG, Values

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDevice

_device = vim.vm.device

DEVICES = "config.hardware.device"
VMX = "config.files.vmPathName"
POWER = "runtime.powerState"
VERSION = "config.changeVersion"

# Fields of a ConfigSpec that are a property each.
_PLAIN = {
    "name": "name",
    "instanceUuid": "config.instanceUuid",
    "guestId": "config.guestId",
    "firmware": "config.firmware",
    "annotation": "config.annotation",
    "numCPUs": "config.hardware.numCPU",
    "memoryMB": "config.hardware.memoryMB",
    "numCoresPerSocket": "config.hardware.numCoresPerSocket",
    "cpuAllocation": "config.cpuAllocation",
    "memoryAllocation": "config.memoryAllocation",
}
_MERGED = {"bootOptions": "config.bootOptions"}
# What a change has to know of the VM as it is.
READ = (DEVICES, EXTRA_CONFIG, VMX, VERSION, "config.bootOptions")


def created(spec: vim.vm.ConfigSpec) -> Values:
    """The values of a VM that is made from a ``ConfigSpec``, with the devices every VM has."""
    basis: Values = {
        DEVICES: [
            _device.VirtualIDEController(key=200, busNumber=0),
            _device.VirtualIDEController(key=201, busNumber=1),
        ],
        EXTRA_CONFIG: [],
        VMX: spec.files.vmPathName if spec.files is not None else None,
    }
    return {
        **basis,
        POWER: "poweredOff",
        "runtime.connectionState": "connected",
        "config.template": False,
        **changed(basis, spec),
    }


def changed(now: Values, spec: vim.vm.ConfigSpec) -> Values:
    """The values that a ``ConfigSpec`` changes, from those of `READ` as they are."""
    found: Values = {}
    for field, path in _PLAIN.items():
        if getattr(spec, field, None) is not None:
            found[path] = getattr(spec, field)
    for field, path in _MERGED.items():
        if (value := getattr(spec, field, None)) is not None:
            found[path] = _merged(now.get(path), value)
    if spec.extraConfig:
        found[EXTRA_CONFIG] = _options(now.get(EXTRA_CONFIG) or (), spec.extraConfig)
    if spec.deviceChange:
        found[DEVICES] = _devices(now.get(DEVICES) or (), spec.deviceChange)
    return found


def disks_of(devices: Iterable[vim.vm.device.VirtualDevice]) -> list[vim.vm.device.VirtualDisk]:
    """The virtual disks among devices."""
    return [each for each in devices if isinstance(each, _device.VirtualDisk)]


def file_of(device: vim.vm.device.VirtualDevice | None) -> str:
    """The file behind a device, "" if it has none."""
    return str(getattr(getattr(device, "backing", None), "fileName", None) or "")


def chain_of(disk: vim.vm.device.VirtualDisk, levels: int) -> list[Any]:
    """The backings of a disk and of those that so many snapshots have put below it."""
    chain: list[Any] = [disk.backing]
    while len(chain) <= levels and getattr(chain[-1], "parent", None) is not None:
        chain.append(chain[-1].parent)
    return chain


def levels_of(snapshot: vim.vm.SnapshotInfo | None) -> int:
    """How many snapshots the VM's present state stands on; ``snapshot`` is its property."""
    if snapshot is None or snapshot.currentSnapshot is None:
        return 0
    current = snapshot.currentSnapshot._GetMoId()
    todo = [(tree, 1) for tree in snapshot.rootSnapshotList or ()]
    while todo:
        tree, depth = todo.pop()
        if tree.snapshot._GetMoId() == current:
            return depth
        todo += [(child, depth + 1) for child in tree.childSnapshotList or ()]
    return 0


def consolidated(
    devices: Iterable[vim.vm.device.VirtualDevice], levels: int
) -> list[vim.vm.device.VirtualDevice]:
    """The devices after that many snapshots were removed: each disk writes to its lowest file."""
    found: list[vim.vm.device.VirtualDevice] = []
    for device in devices:
        if levels and isinstance(device, _device.VirtualDisk):
            made = copy.copy(device)
            made.backing = chain_of(device, levels)[-1]
            found.append(made)
        else:
            found.append(device)
    return found


def _options(
    now: Iterable[vim.option.OptionValue], changes: Iterable[vim.option.OptionValue]
) -> list[vim.option.OptionValue]:
    values = {each.key: each for each in now}
    for change in changes:
        if change.value in {"", None}:
            values.pop(change.key, None)
        else:
            values[change.key] = change
    return list(values.values())


def _devices(
    now: Iterable[vim.vm.device.VirtualDevice], changes: Iterable[vim.vm.device.VirtualDeviceSpec]
) -> list[vim.vm.device.VirtualDevice]:
    devices = {int(each.key): each for each in now}
    new_keys: dict[int, int] = {}
    for change in changes:
        key = int(change.device.key)
        match str(change.operation or "edit"):
            case "remove":
                devices.pop(key, None)
            case "add":
                new_keys[key] = max(FIRST_PLANNED_KEY, *devices, 0) + 1
                devices[new_keys[key]] = _added(change.device, new_keys)
            case _:
                devices[key] = _merged(devices.get(key), change.device)
    return list(devices.values())


def _added(
    device: vim.vm.device.VirtualDevice, new_keys: dict[int, int]
) -> vim.vm.device.VirtualDevice:
    """The device as the server would have it: with a key of its own, and its controller's."""
    made = copy.copy(device)
    made.key = new_keys[int(device.key)]
    if device.controllerKey is not None:
        made.controllerKey = new_keys.get(int(device.controllerKey), device.controllerKey)
    if isinstance(made, _device.VirtualDisk) and made.capacityInBytes is None:
        made.capacityInBytes = kib_to_bytes(made.capacityInKB or 0)
    return made


def _merged(now: VirtualDevice | None, change: VirtualDevice) -> VirtualDevice:
    """A data object with the fields that a change sets; one of another type replaces it."""
    if now is None or type(now) is not type(change):
        return change
    result = copy.copy(now)
    for each in change._GetPropertyList():
        value = getattr(change, each.name)
        if value is not None and value != []:
            setattr(result, each.name, value)
    return result
