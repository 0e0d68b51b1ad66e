"""What a CloneSpec asks for, checked before anything is made."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import entity_name, invalid_argument
from vmops.lab.inventory.container import Container
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.placement import choose_host, environment_browser_of
from vmops.lab.machine.snapshots.disks import disks_of
from vmops.lab.machine.snapshots.files import stored_config
from vmops.lab.machine.snapshots.shown_tree import find_snapshot
from vmops.lab.operations.clone.disks import MOVE_TYPES, NEW_CHILD, WHOLE
from vmops.lab.operations.relocation.target import datastore_of_host

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo, ConfigSpec, RelocateSpec
    from pyVmomi.vim.vm.device import VirtualDevice, VirtualDeviceSpec
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.machine.machine import Machine
    from vmops.lab.machine.snapshot_tree import Snapshot
    from vmops.lab.storage.disks import Provisioning

_device = vim.vm.device
_Operation = _device.VirtualDeviceSpec.Operation
_FlatBacking = _device.VirtualDisk.FlatVer2BackingInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonePlan:
    """A clone that can be made as far as can be told beforehand."""

    name: str
    folder: Container
    host: HostSystem
    pool: Reference | None
    browser: Reference | None
    datastore: str
    source: ConfigInfo
    """The ConfigInfo that is cloned, without the disks that are left out."""
    snapshot: Snapshot | None
    changes: ConfigSpec
    """The ConfigSpec of what is to differ."""
    disks: Mapping[int, tuple[str, str, Provisioning | None]]
    """Datastore, way of moving and provisioning of each disk, by device key."""
    is_template: bool
    power_on: bool


def clone_plan(vm: Machine, folder: Reference, name: str, spec: vim.vm.CloneSpec) -> ClonePlan:
    """Check what CloneVM_Task is asked for.

    Raises:
        vmodl.fault.NotSupported: the lab is a single host; or customization, memory, encryption
            or another vCenter is asked for.
        vim.fault.InvalidName: see `entity_name`.
        vim.fault.InvalidState: the machine's files cannot be read.
        vim.fault.InvalidDatastore: a datastore is not on the host.
        vmodl.fault.InvalidArgument: the snapshot is another machine's, a linked clone is not of a
            snapshot, there is no pool, a template is to be powered on, and the like.
        As `choose_host` does.
    """
    location = spec.location
    if vm.kernel.settings.esx:
        raise vmodl.fault.NotSupported(msg="A single host clones no virtual machines.")
    for asked in (spec.customization, spec.memory, location.service, location.cryptoSpec):
        if asked:
            raise vmodl.fault.NotSupported(msg="The lab cannot make a clone of this kind.")
    vm.require_accessible()
    if spec.template and spec.powerOn:
        raise invalid_argument("spec.powerOn", "A template cannot be powered on.")
    snapshot = None if spec.snapshot is None else find_snapshot(vm, spec.snapshot, "spec.snapshot")
    original = vm.config if snapshot is None else snapshot.config
    source = copy.deepcopy(stored_config(vm, original))
    changes = _changes(spec)
    source.hardware.device, changes.deviceChange = _without_left_out(
        source.hardware.device, changes.deviceChange
    )
    place = _folder(vm, folder or location.folder)
    pool, host, datastore = _place(vm, spec)
    return ClonePlan(
        name=entity_name(name),
        folder=place,
        host=host,
        pool=pool,
        browser=_browser(vm, pool, host),
        datastore=datastore,
        source=source,
        snapshot=snapshot,
        changes=changes,
        disks=_disks(vm, spec, source.hardware.device, host, datastore),
        is_template=bool(spec.template),
        power_on=bool(spec.powerOn),
    )


def _changes(spec: vim.vm.CloneSpec) -> ConfigSpec:
    changes = copy.copy(spec.config) if spec.config is not None else vim.vm.ConfigSpec()
    changes.name = changes.files = changes.changeVersion = None
    changes.deviceChange = copy.deepcopy(
        [*(spec.location.deviceChange or ()), *(changes.deviceChange or ())]
    )
    return changes


def _without_left_out(
    devices: Sequence[VirtualDevice], changes: Sequence[VirtualDeviceSpec]
) -> tuple[list[VirtualDevice], list[VirtualDeviceSpec]]:
    """Leave out disks that are to be removed: they are never copied, and nothing is deleted."""
    left_out = {
        change.device.key for change in changes if change.operation == _Operation.remove
    } & {disk.key for disk in disks_of(devices)}
    kept = [device for device in devices if device.key not in left_out]
    for controller in kept:
        if isinstance(controller, _device.VirtualController):
            controller.device = [key for key in controller.device if key not in left_out]
    changed = [
        change
        for change in changes
        if change.operation != _Operation.remove or change.device.key not in left_out
    ]
    return kept, changed


def _folder(vm: Machine, ref: Reference | None) -> Container:
    folder = vm.kernel.registry.find(ref, ManagedEntity)
    if not isinstance(folder, Container) or not folder.holds(vim.VirtualMachine):
        raise invalid_argument("folder", "It does not hold virtual machines.")
    return folder


def _place(vm: Machine, spec: vim.vm.CloneSpec) -> tuple[Reference | None, HostSystem, str]:
    """Return the pool, None for a template, the host, and the name of the datastore."""
    kernel = vm.kernel
    location = spec.location
    datastore = vm.vmx.datastore
    if location.datastore is not None:
        datastore = kernel.registry.find(location.datastore, ManagedEntity).name
    if spec.template:
        host = vm.host
        if location.host is not None:
            host = kernel.registry.find(location.host, HostSystem)
        host.require_no_maintenance()
        datastore_of_host(host, location.datastore or _datastore_ref(vm, datastore))
        return None, host, datastore
    pool = location.pool or vm.properties["resourcePool"]
    if pool is None:
        raise invalid_argument("spec.location.pool", "A clone of a template needs a pool.")
    return pool, choose_host(kernel, pool, location.host, datastore), datastore


def _datastore_ref(vm: Machine, name: str) -> Reference:
    refs: list[Reference] = vm.properties["datastore"]
    for ref in refs:
        if vm.kernel.registry.find(ref, ManagedEntity).name == name:
            return ref
    raise vim.fault.InvalidDatastore(name=name, msg=f"There is no datastore '{name}'.")


def _browser(vm: Machine, pool: Reference | None, host: HostSystem) -> Reference | None:
    if pool is not None:
        return environment_browser_of(vm.kernel, pool)
    compute = host.parent
    return None if compute is None else compute.properties["environmentBrowser"]


def _disks(
    vm: Machine,
    spec: vim.vm.CloneSpec,
    devices: Sequence[VirtualDevice],
    host: HostSystem,
    datastore: str,
) -> dict[int, tuple[str, str, Provisioning | None]]:
    locators = {locator.diskId: locator for locator in spec.location.disk or ()}
    keys = {disk.key for disk in disks_of(devices)}
    for key in locators.keys() - {disk.key for disk in disks_of(vm.devices)} - keys:
        raise invalid_argument("spec.location.disk.diskId", f"There is no disk {key}.")
    wanted: dict[int, tuple[str, str, Provisioning | None]] = {}
    for key in sorted(keys):
        locator = locators.get(key)
        given = (locator.diskMoveType if locator is not None else None) or (
            spec.location.diskMoveType
        )
        move_type = str(given or WHOLE)
        if move_type not in MOVE_TYPES:
            raise invalid_argument("spec.location.diskMoveType", f"'{move_type}' is unknown.")
        if move_type == NEW_CHILD and spec.snapshot is None:
            # The API reference: "only valid when cloning from a snapshot".
            raise invalid_argument("spec.location.diskMoveType", "It needs a snapshot.")
        at = datastore
        if locator is not None:
            at = datastore_of_host(host, locator.datastore).name
        wanted[key] = (at, move_type, _provisioning(spec, locator))
    return wanted


def _provisioning(
    spec: vim.vm.CloneSpec, locator: RelocateSpec.DiskLocator | None
) -> Provisioning | None:
    backing = None if locator is None else locator.diskBackingInfo
    if isinstance(backing, _FlatBacking):
        if backing.thinProvisioned:
            return "thin"
        return "eagerZeroedThick" if backing.eagerlyScrub else "thick"
    if spec.location.transform is None:
        return None
    return "thin" if str(spec.location.transform) == "sparse" else "thick"
