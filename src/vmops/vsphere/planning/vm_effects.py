"""What calls do to virtual machines, as far as later steps can see it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.planning import machine
from vmops.vsphere.planning.machine import DEVICES, POWER, VERSION, VMX
from vmops.vsphere.planning.site import Arguments, Effect, Site, datastore_path
from vmops.vsphere.planning.world import Values
from vmops.vsphere.wire.moref import Moref, moid

ON, OFF, SUSPENDED = "poweredOn", "poweredOff", "suspended"
_TOOLS = "guest.toolsRunningStatus"
_LAYOUT = "layoutEx"
_SNAPSHOT = "snapshot"
_CONSOLIDATION = "runtime.consolidationNeeded"
_WHOLE_CHAIN = 255  # more backings than a disk can have


# Power


def _power_on(site: Site, vm: Moref, arguments: Arguments) -> None:
    if (state := _power(site, vm)) == ON:
        _wrong_state(site, state, ON)
    site.world.change(vm, {POWER: ON})


def _power_off(site: Site, vm: Moref, arguments: Arguments) -> None:
    if (state := _power(site, vm)) == OFF:
        _wrong_state(site, state, OFF)
    site.world.change(vm, {POWER: OFF})


def _suspend(site: Site, vm: Moref, arguments: Arguments) -> None:
    _require_on(site, vm)
    site.world.change(vm, {POWER: SUSPENDED})


def _require_on(site: Site, vm: Moref, arguments: Arguments | None = None) -> None:
    if (state := _power(site, vm)) != ON:
        _wrong_state(site, state, ON)


def _by_tools(site: Site, vm: Moref, arguments: Arguments) -> None:
    _require_on(site, vm)
    if site.read(vm, _TOOLS).get(_TOOLS) != "guestToolsRunning":
        site.refuse(vim.fault.ToolsUnavailable(msg="The guest runs no Tools."))


def _shut_down_guest(site: Site, vm: Moref, arguments: Arguments) -> None:
    _by_tools(site, vm, arguments)
    site.world.change(vm, {POWER: OFF})
    site.world.plan.note(
        "If the guest does not shut down in time, PowerOffVM_Task follows on ShutdownGuest."
    )


def _power(site: Site, vm: Moref) -> str:
    return str(site.read(vm, POWER).get(POWER) or "")


def _wrong_state(site: Site, state: str, wanted: str) -> None:
    site.refuse(vim.fault.InvalidPowerState(requestedState=wanted, existingState=state or None))


# Coming and going


def _create(site: Site, folder: Moref, arguments: Arguments) -> Moref:
    spec = arguments["config"]
    _refuse_duplicate(site, folder, spec.name)
    path = datastore_path(spec.files.vmPathName)
    if path is not None and path.name.endswith(".vmx"):
        if site.exists(path):
            site.refuse(vim.fault.FileAlreadyExists(file=str(path)))
        site.world.files.made(path)
    made = site.world.new(vim.VirtualMachine)
    values = machine.created(spec)
    values["resourcePool"] = arguments.get("pool")
    values["runtime.host"] = arguments.get("host")
    values = _with_files(made, values)
    _make_disks(site, values, ())
    site.world.change(made, values)
    return made


def _create_folder(site: Site, folder: Moref, arguments: Arguments) -> Moref:
    _refuse_duplicate(site, folder, arguments["name"])
    return site.world.new(vim.Folder, {"name": arguments["name"], "parent": folder})


def _refuse_duplicate(site: Site, folder: Moref, name: str) -> None:
    """Raise DuplicateName if something in the folder has this name."""
    if site.world.is_planned(folder):
        return
    there = site.session.search_index.child(folder, name)
    if there is not None:
        site.refuse(vim.fault.DuplicateName(name=name, object=there))


def _rename(site: Site, vm: Moref, arguments: Arguments) -> None:
    site.world.change(vm, {"name": arguments["newName"]})


def _destroy(site: Site, entity: Moref, arguments: Arguments) -> None:
    if isinstance(entity, vim.VirtualMachine):
        if _power(site, entity) == ON:
            _wrong_state(site, ON, OFF)
        _take_files(site, entity)
    site.world.remove(entity)


def _unregister(site: Site, vm: Moref, arguments: Arguments) -> None:
    if _power(site, vm) == ON:
        _wrong_state(site, ON, OFF)
    site.world.remove(vm)


def _take_files(site: Site, vm: Moref) -> None:
    """Let the files go that are the VM's: its disks with their snapshots, and its configuration.

    What its disks are based on besides goes if it was copied into the VM's own folder, as a move
    to another datastore does; elsewhere it may be others' as well.
    """
    values = site.read(vm, VMX, DEVICES, _SNAPSHOT)
    _take_configuration(site, vm, values.get(VMX))
    vmx = datastore_path(values.get(VMX))
    for disk in machine.disks_of(values.get(DEVICES) or ()):
        _take_chain(site, disk, machine.levels_of(values.get(_SNAPSHOT)))
        for backing in machine.chain_of(disk, _WHOLE_CHAIN):
            path = datastore_path(backing.fileName)
            if vmx is not None and path is not None and path.is_below(vmx.parent):
                site.world.files.disk_gone(path)
    if vmx is not None and vmx.parent.path:
        site.world.files.emptied.add(vmx.parent)


def _take_configuration(site: Site, vm: Moref, vmx: object) -> None:
    layout = None if site.world.is_planned(vm) else site.read(vm, _LAYOUT).get(_LAYOUT)
    known = [str(each.name) for each in getattr(layout, "file", None) or ()]
    for name in (str(vmx), *known):
        path = datastore_path(name)
        if path is not None and not path.name.endswith(".vmdk"):
            site.world.files.gone(path)


def _take_chain(site: Site, disk: vim.vm.device.VirtualDisk, levels: int) -> None:
    _take_backings(site, machine.chain_of(disk, levels))


def _take_backings(site: Site, backings: Iterable[Any]) -> None:
    for backing in backings:
        if (path := datastore_path(backing.fileName)) is not None:
            site.world.files.disk_gone(path)


# Changing


def _reconfigure(site: Site, vm: Moref, arguments: Arguments) -> None:
    spec = arguments["spec"]
    now = site.read(vm, *machine.READ, POWER)
    changes_hardware = spec.deviceChange or spec.numCPUs is not None or spec.memoryMB is not None
    if changes_hardware and now.get(POWER) == SUSPENDED:
        _wrong_state(site, SUSPENDED, OFF)
    if spec.changeVersion and spec.changeVersion != now.get(VERSION):
        site.refuse(vim.fault.ConcurrentAccess(msg="The virtual machine was changed meanwhile."))
    values = _with_files(vm, machine.changed(now, spec), now.get(VMX))
    for change in spec.deviceChange or ():
        if str(change.fileOperation) == "destroy":
            key = int(change.device.key)
            _take_disk(site, next((d for d in now.get(DEVICES) or () if d.key == key), None))
    _make_disks(site, values, now.get(DEVICES) or ())
    number = site.world.next_number("change")
    site.world.change(vm, {**values, VERSION: f"planned-{number}"})


def _make_disks(site: Site, values: Values, before: Iterable[vim.vm.device.VirtualDevice]) -> None:
    """Let the files be there of disks that the VM did not have before."""
    known = {machine.file_of(disk) for disk in machine.disks_of(before)}
    for disk in machine.disks_of(values.get(DEVICES) or ()):
        path = datastore_path(machine.file_of(disk))
        if path is not None and str(path) not in known:
            site.world.files.made(path)


def _take_disk(site: Site, disk: vim.vm.device.VirtualDevice | None) -> None:
    if (path := datastore_path(machine.file_of(disk))) is not None:
        site.world.files.disk_gone(path)


def _with_files(vm: Moref, values: Values, vmx: str | None = None) -> Values:
    """The values with a file for each new disk whose name the server would choose."""
    folder = datastore_path(values.get(VMX) or vmx)
    if folder is None or not values.get(DEVICES):
        return values
    place = folder.parent if folder.path else DatastorePath(folder.datastore, moid(vm))
    if not folder.path:
        values[VMX] = str(place.joined(f"{moid(vm)}.vmx"))
    for number, disk in enumerate(machine.disks_of(values[DEVICES])):
        if machine.file_of(disk) in {"", f"[{folder.datastore}]"}:
            backing: Any = copy.copy(disk.backing)
            backing.fileName = str(place.joined(f"{moid(vm)}-{number}.vmdk"))
            disk.backing = backing
    return values


# Moving


def _relocate(site: Site, vm: Moref, arguments: Arguments) -> None:
    spec = arguments["spec"]
    values: Values = {}
    if spec.host is not None:
        values["runtime.host"] = spec.host
    if spec.pool is not None:
        values["resourcePool"] = spec.pool
    if spec.datastore is not None:
        values.update(_at_datastore(site, vm, spec, spec.datastore))
    site.world.change(vm, values)


def _at_datastore(site: Site, vm: Moref, spec: vim.vm.RelocateSpec, datastore: Moref) -> Values:
    now = site.read(vm, VMX, DEVICES, _SNAPSHOT)
    target = site.session.inventory.datastore_of(moid(datastore))
    stays = {int(one.diskId): one.datastore for one in spec.disk or ()}
    devices, datastores = [], {target.moid: datastore}
    for device in now.get(DEVICES) or ():
        if isinstance(device, vim.vm.device.VirtualDisk) and int(device.key) not in stays:
            _take_chain(site, device, machine.levels_of(now.get(_SNAPSHOT)))
            devices.append(_moved(site, device, target.name))
        else:
            devices.append(device)
    datastores.update({moid(one): one for one in stays.values()})
    path = datastore_path(now.get(VMX))
    if path is not None:
        site.world.plan.note(
            f"The server chooses the folder on {target.name}; it is taken to be called as before."
        )
        _take_configuration(site, vm, path)
        site.world.files.made(DatastorePath(target.name, path.path))
    return {
        VMX: None if path is None else str(DatastorePath(target.name, path.path)),
        DEVICES: devices,
        "datastore": list(datastores.values()),
    }


def _moved(
    site: Site, disk: vim.vm.device.VirtualDisk, datastore: str
) -> vim.vm.device.VirtualDisk:
    """A disk whose file, and those that it is based on, lie on another datastore."""
    made = copy.copy(disk)
    backing: Any = copy.copy(disk.backing)
    made.backing = backing
    while backing is not None:
        path = datastore_path(backing.fileName)
        if path is not None:
            there = DatastorePath(datastore, path.path)
            site.world.files.made(there)
            backing.fileName = str(there)
        if getattr(backing, "parent", None) is not None:
            backing.parent = copy.copy(backing.parent)
        backing = getattr(backing, "parent", None)
    return made


# Snapshots


def _create_snapshot(site: Site, vm: Moref, arguments: Arguments) -> Moref:
    made = site.world.new(vim.vm.Snapshot, {"vm": vm, "before": site.read(vm, _SNAPSHOT)})
    tree = vim.vm.SnapshotTree(snapshot=made, vm=vm, name=arguments["name"])
    info = vim.vm.SnapshotInfo(currentSnapshot=made, rootSnapshotList=[tree])
    site.world.change(vm, {_SNAPSHOT: info})
    return made


def _remove_all_snapshots(site: Site, vm: Moref, arguments: Arguments) -> None:
    now = site.read(vm, DEVICES, _SNAPSHOT)
    levels = machine.levels_of(now.get(_SNAPSHOT))
    for disk in machine.disks_of(now.get(DEVICES) or ()):
        _take_backings(site, machine.chain_of(disk, levels)[:-1])
    devices = machine.consolidated(now.get(DEVICES) or (), levels)
    site.world.change(vm, {_SNAPSHOT: None, DEVICES: devices})


def _consolidate(site: Site, vm: Moref, arguments: Arguments) -> None:
    """What is planned needs none: the layers of a plan's snapshots go with them."""
    site.world.change(vm, {_CONSOLIDATION: False})


def _remove_snapshot(site: Site, snapshot: Moref, arguments: Arguments) -> None:
    values = site.world.values(moid(snapshot))
    if "vm" in values:
        site.world.change(values["vm"], {_SNAPSHOT: values["before"].get(_SNAPSHOT)})
    site.world.remove(snapshot)


EFFECTS: dict[str, Effect] = {
    "PowerOnVM_Task": _power_on,
    "PowerOffVM_Task": _power_off,
    "SuspendVM_Task": _suspend,
    "ResetVM_Task": _require_on,
    "ShutdownGuest": _shut_down_guest,
    "RebootGuest": _by_tools,
    "CreateVM_Task": _create,
    "CreateFolder": _create_folder,
    "Rename_Task": _rename,
    "Destroy_Task": _destroy,
    "UnregisterVM": _unregister,
    "ReconfigVM_Task": _reconfigure,
    "RelocateVM_Task": _relocate,
    "CreateSnapshot_Task": _create_snapshot,
    "RemoveSnapshot_Task": _remove_snapshot,
    "RemoveAllSnapshots_Task": _remove_all_snapshots,
    "ConsolidateVMDisks_Task": _consolidate,
}
