"""The saved inventory: what is not in the datastores' files and must survive a restart.

That is where virtual machines stand, with their power states, and the folders, pools, port groups
and names that clients made. What the machines are is in their .vmx files.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pyVmomi import vim, vmodl

from vmops.lab import listing
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.network import Network
from vmops.lab.inventory.placement import environment_browser_of
from vmops.lab.inventory.references import link
from vmops.lab.kernel.fault_text import message
from vmops.lab.machine.allocations import unlimited
from vmops.lab.machine.load import load
from vmops.lab.machine.machine import Place
from vmops.lab.machine.snapshots.files import load_tree
from vmops.lab.machine.snapshots.shown_tree import show_tree
from vmops.lab.objects.folder import VM_CHILDREN, Folder
from vmops.lab.objects.resource_pool import ResourcePool
from vmops.lab.objects.virtual_machine import VirtualMachine
from vmops.lab.operations import properties
from vmops.lab.operations.connection_state import show_connection
from vmops.lab.operations.place import join
from vmops.lab.operations.power import restore_power
from vmops.lab.operations.snapshots.merge import show_need
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.whole_files import is_partial, write_whole

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo

    from vmops.lab.kernel.kernel import Kernel, ManagedObject

log = logging.getLogger(__name__)

Saved: TypeAlias = dict[str, Any]
"""An entry of the file; its format is written here."""
Obj = TypeVar("Obj", bound=ManagedEntity)
_FORMAT = 1
_SAVED = (Folder, ResourcePool, HostSystem, Network, VirtualMachine, ManagedEntity)
_UNSAVED = frozenset({"vm", "layoutEx", "storage", "guest", "datastore", "network", "recentTask"})
"""Properties whose change alone means nothing to save."""


class SavedInventory:
    """Reads the inventory file at the start of a lab, and rewrites it at every change."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._file = kernel.settings.inventory_file
        self._default = {each.moid for each in kernel.registry.all(ManagedEntity)}
        self._names = {each.moid: each.name for each in kernel.registry.all(ManagedEntity)}
        self._written = ""
        self._last_number = 0
        self._is_due = False
        # The file is put together from texts, of which only those of changed objects are new:
        # to encode all of them at each change would cost a large inventory most of its time.
        self._machines: dict[str, str] = {}
        self._changed_machines: dict[str, VirtualMachine] = {}
        self._others = ""
        self._others_changed = True

    async def restore(self) -> None:
        """Bring back what was saved. A file that cannot be used is put aside, not lost."""
        for file in listing.files(self._file.parent):
            if is_partial(file.name):  # the lab died as it wrote it
                file.unlink(missing_ok=True)
        saved = self._read()
        if saved is None:
            return
        self._last_number = int(saved.get("lastNumber", 0))
        self._skip_used_numbers()
        for step in (self._folders, self._pools, self._hosts, self._renames):
            step(saved)
        running = await self._kernel.hypervisor.running()
        for entry in saved.get("machines", []):
            await self._machine(entry, running)
        for key in running:
            if key not in self._kernel.registry:
                log.warning("ending the guest of %s, which is in no inventory", key)
                await self._kernel.hypervisor.power_off(key)

    def keep(self) -> None:
        """Write the file now, and from now on after every change."""
        self._kernel.on_change(self._changed)
        self._kernel.on_stop(self._write_last)
        self._changed_machines = {vm.moid: vm for vm in self._kernel.registry.all(VirtualMachine)}
        self.write()

    async def _write_last(self) -> None:
        self.write()

    def write(self) -> None:
        """Write the file, as a whole or not at all, if there is anything new."""
        self._is_due = False
        if self._written and not self._others_changed and not self._changed_machines:
            return
        text = self._text()
        if text == self._written:
            return
        try:
            write_whole(self._file, text)
        except OSError:
            log.exception("the inventory could not be saved")
            return
        self._written = text

    def _changed(self, obj: ManagedObject, paths: Collection[str]) -> None:
        if not isinstance(obj, _SAVED) or (paths and _UNSAVED.issuperset(paths)):
            return
        if isinstance(obj, VirtualMachine):
            self._changed_machines[obj.moid] = obj
        else:
            self._others_changed = True
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.write)

    def _read(self) -> Saved | None:
        try:
            saved = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._put_aside(str(error))
            return None
        if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
            self._put_aside("its format is another one")
            return None
        return saved

    def _put_aside(self, reason: str) -> None:
        aside = self._file.with_name(f"{self._file.name}.unusable")
        log.error("the saved inventory cannot be used (%s); it is now %s", reason, aside.name)
        with suppress(OSError):
            self._file.replace(aside)

    def _text(self) -> str:
        for moid, vm in self._changed_machines.items():
            self._last_number = max(self._last_number, int(moid.rpartition("-")[2]))
            if moid in self._kernel.registry:
                self._machines[moid] = json.dumps(_machine(vm))
            else:
                self._machines.pop(moid, None)
        self._changed_machines.clear()
        if self._others_changed:
            self._others = json.dumps(self._document(), indent=1).removesuffix("\n}")
            self._others_changed = False
        machines = ",\n  ".join(self._machines.values())
        return (
            f'{self._others},\n "lastNumber": {self._last_number},\n "machines": [{machines}]\n}}\n'
        )

    def _document(self) -> Saved:
        """Return all but the machines."""
        registry = self._kernel.registry
        made = [each for each in registry.all(ManagedEntity) if each.moid not in self._default]
        return {
            "format": _FORMAT,
            "folders": [_below(each) for each in made if isinstance(each, Folder)],
            "pools": [
                {**_below(each), "allocations": _allocations(each.properties["config"])}
                for each in made
                if isinstance(each, ResourcePool)
            ],
            "hosts": {host.moid: _host(host) for host in registry.all(HostSystem)},
            "names": {
                each.moid: each.name
                for each in registry.all(ManagedEntity)
                if each.moid in self._default and each.name != self._names[each.moid]
            },
        }

    def _skip_used_numbers(self) -> None:
        """Never give the id of a machine that is gone to another one."""
        while self._last_number and int(self._kernel.new_moid("vm")[3:]) < self._last_number:
            pass

    def _folders(self, saved: Saved) -> None:
        left = list(saved.get("folders", []))
        while left:
            ready = [entry for entry in left if entry["parent"] in self._kernel.registry]
            if not ready:
                log.error("%d saved folders have no parent", len(left))
                return
            for entry in ready:
                parent = self._kernel.registry.find(entry["parent"], Folder)
                folder = Folder(
                    self._kernel,
                    entry["moid"],
                    name=entry["name"],
                    parent=parent.ref,
                    child_type=parent.properties["childType"],
                )
                self._kernel.add(folder)
                parent.add_child(folder)
                left.remove(entry)

    def _pools(self, saved: Saved) -> None:
        left = list(saved.get("pools", []))
        while left:
            ready = [entry for entry in left if entry["parent"] in self._kernel.registry]
            if not ready:
                log.error("%d saved resource pools have no parent", len(left))
                return
            for entry in ready:
                parent = self._kernel.registry.find(entry["parent"], ResourcePool)
                pool = ResourcePool(
                    self._kernel,
                    entry["moid"],
                    name=entry["name"],
                    parent=parent.ref,
                    owner=parent.properties["owner"],
                    config=_pool_spec(entry["allocations"]),
                )
                self._kernel.add(pool)
                link(self._kernel, parent, "resourcePool", pool.ref)
                left.remove(entry)

    def _hosts(self, saved: Saved) -> None:
        for moid, entry in saved.get("hosts", {}).items():
            if moid not in self._kernel.registry:
                continue
            host = self._kernel.registry.find(moid, HostSystem)
            system = host.network_system
            known = {switch.name for switch in system.properties["networkInfo"].vswitch}
            for name in entry["switches"]:
                if name not in known:
                    system.AddVirtualSwitch(name)
            for group in system.portgroups():
                if group.spec.name not in {each["name"] for each in entry["portgroups"]}:
                    system.RemovePortGroup(group.spec.name)
            present = {group.spec.name for group in system.portgroups()}
            for each in entry["portgroups"]:
                spec = vim.host.PortGroup.Specification(
                    name=each["name"],
                    vlanId=each["vlan"],
                    vswitchName=each["switch"],
                    policy=vim.host.NetworkPolicy(),
                )
                if each["name"] in present:
                    system.UpdatePortGroup(each["name"], spec)
                else:
                    system.AddPortGroup(spec)
            state = "connected" if entry.get("connected", True) else "disconnected"
            self._kernel.update(
                host,
                {
                    "runtime.inMaintenanceMode": entry["maintenance"],
                    "runtime.connectionState": state,
                    "runtime.powerState": "poweredOn" if state == "connected" else "unknown",
                },
            )

    def _renames(self, saved: Saved) -> None:
        for moid, name in saved.get("names", {}).items():
            if moid in self._kernel.registry:
                entity = self._kernel.registry.find(moid, ManagedEntity)
                self._kernel.update(entity, entity.renamed(name))

    async def _machine(self, entry: Saved, running: frozenset[str]) -> None:
        kernel = self._kernel
        vmx = DatastorePath.parse(entry["vmx"])
        folder = self._entity(entry["folder"], Folder) or self._machine_folder()
        host = self._entity(entry["host"], HostSystem) or kernel.registry.all(HostSystem)[0]
        pool = None if entry["pool"] is None else self._entity(entry["pool"], ResourcePool)
        root = next(each for each in kernel.registry.all(ResourcePool) if each.is_root)
        config: ConfigInfo | None = None
        try:
            config = await load(kernel, vmx, host)
            config.name, config.template = entry["name"], bool(entry["template"])
        except vmodl.MethodFault as fault:
            log.error("%s is not accessible: %s", entry["name"], message(fault))  # noqa: TRY400 - told
        if pool is None and not entry["template"]:
            pool = root
        vm = VirtualMachine(
            kernel,
            entry["moid"],
            name=entry["name"],
            vmx=vmx,
            config=config,
            place=Place(
                folder=folder.ref,
                host=host.ref,
                pool=None if pool is None else pool.ref,
                browser=environment_browser_of(kernel, (pool or root).ref),
            ),
        )
        join(vm)
        show_tree(vm, await load_tree(vm))
        await show_need(vm)
        restore_power(vm, entry["power"], running)
        vm.is_orphaned = bool(entry.get("orphaned"))
        vm.policies = dict(entry.get("policies", {}))
        if config is None:
            known = entry.get("uuids", {})
            vm.last_uuids = known.get("instance"), known.get("bios")
        show_connection(vm)
        await properties.refresh_files(vm)

    def _entity(self, moid: str, cls: type[Obj]) -> Obj | None:
        if moid not in self._kernel.registry:
            return None
        found = self._kernel.registry.get(moid)
        return found if isinstance(found, cls) else None

    def _machine_folder(self) -> Folder:
        """Return the folder for machines whose own is gone."""
        for folder in self._kernel.registry.all(Folder):
            if folder.moid in self._default and list(folder.properties["childType"]) == list(
                VM_CHILDREN
            ):
                return folder
        raise LookupError("the inventory has no folder for virtual machines")


def _below(entity: ManagedEntity) -> Saved:
    parent = entity.parent
    return {
        "moid": entity.moid,
        "name": entity.name,
        "parent": "" if parent is None else parent.moid,
    }


def _allocations(config: ConfigInfo) -> dict[str, list[Any]]:
    return {
        name: [
            allocation.reservation,
            allocation.limit,
            str(allocation.shares.level),
            allocation.shares.shares,
        ]
        for name in ("cpuAllocation", "memoryAllocation")
        if (allocation := getattr(config, name)) is not None and allocation.shares is not None
    }


def _pool_spec(saved: dict[str, list[Any]]) -> vim.ResourceConfigSpec:
    spec = vim.ResourceConfigSpec(
        cpuAllocation=unlimited("normal", 4000), memoryAllocation=unlimited("normal", 163840)
    )
    for name, (reservation, limit, level, shares) in saved.items():
        allocation = unlimited(level, shares)
        allocation.reservation, allocation.limit = reservation, limit
        setattr(spec, name, allocation)
    return spec


def _host(host: HostSystem) -> Saved:
    info = host.network_system.properties["networkInfo"]
    return {
        "maintenance": bool(host.properties["runtime"].inMaintenanceMode),
        "connected": host.is_connected,
        "switches": [switch.name for switch in info.vswitch],
        "portgroups": [
            {"name": group.spec.name, "vlan": group.spec.vlanId, "switch": group.spec.vswitchName}
            for group in info.portgroup
        ],
    }


def _machine(vm: VirtualMachine) -> Saved:
    pool = vm.properties["resourcePool"]
    parent = vm.parent
    return {
        "moid": vm.moid,
        "name": vm.name,
        "vmx": vm.vmx_path,
        "folder": "" if parent is None else parent.moid,
        "host": vm.host.moid,
        "pool": None if pool is None else pool._moId,
        "template": vm.is_template,
        "power": vm.power_state,
        "orphaned": vm.is_orphaned,
        "uuids": {"instance": vm.instance_uuid, "bios": vm.bios_uuid},
        "policies": vm.policies,
    }
