"""Whether a virtual machine's host, and its files, can be reached.

A vCenter says of each machine that it is "connected", "disconnected" (its host is), "inaccessible"
(its .vmx file or the datastore is gone) or "orphaned" (its host does not know it any more).
"""

from __future__ import annotations

from contextlib import suppress

from pyVmomi import vmodl

from vmops.lab.inventory.argument_faults import invalid_state
from vmops.lab.machine.load import load
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshots.files import load_tree
from vmops.lab.machine.snapshots.shown_tree import show_tree
from vmops.lab.operations import power, reconfigure
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath


def show_connection(vm: Machine) -> None:
    """Publish the machine's connection state as it follows from its host and its files."""
    if not vm.host.is_connected:
        state = "disconnected"
    elif vm.is_orphaned:
        state = "orphaned"
    else:
        state = "connected" if vm.is_accessible and vm.has_files else "inaccessible"
    if vm.properties["runtime"].connectionState != state:
        vm.publish({"runtime.connectionState": state})


def orphan(vm: Machine) -> None:
    """Let the host forget the machine, as when somebody unregisters it on the host itself.

    All that can be done with it then is to take it out of the inventory.

    Raises:
        vim.fault.InvalidState: it is on; a host does not forget what runs on it.
    """
    if vm.power_state == power.ON:
        raise invalid_state(f"'{vm.name}' is on.")
    vm.is_orphaned = True
    show_connection(vm)


async def look_again(vm: Machine) -> None:
    """Bring the machine up to date after what happened to its host, or to a datastore.

    While the host is disconnected nothing is heard of its guests; one that ended meanwhile is off.
    """
    if not vm.host.is_connected:
        show_connection(vm)
        return
    running = await vm.kernel.hypervisor.running()
    if vm.power_state == power.ON and vm.moid not in running:
        power.show_power(vm, power.OFF)
    show_connection(vm)
    if not vm.lock.locked():  # else its files are in use, and looked at next time
        async with vm.lock:
            await look_at_files(vm)


async def look_at_files(vm: Machine) -> None:
    """Find out whether the machine's files, whose lock the caller has, are there or there again.

    A machine that is on keeps its configuration, which its host has in memory; of another one
    nothing is known without its .vmx file. A file that cannot be read counts as gone.
    """
    has_files = await vm.kernel.blocking(_is_there, vm.store, vm.vmx)
    if vm.moid not in vm.kernel.registry:
        return
    vm.has_files = has_files
    if not has_files and vm.power_state != power.ON and vm.is_accessible:
        vm.publish({"config": None})
    elif has_files and not vm.is_accessible:
        with suppress(vmodl.MethodFault):  # then they are no files of a machine
            await read_again(vm)
    show_connection(vm)


async def read_again(vm: Machine) -> None:
    """Read the machine's configuration and snapshots from its files; the caller has its lock.

    Raises:
        vim.fault.NotFound, vim.fault.VmConfigFault: they are gone, or cannot be used.
    """
    config = await load(vm.kernel, vm.vmx, vm.host)
    config.template = vm.is_template
    config.name = vm.name
    vm.has_files = True
    reconfigure.show(vm, config)
    show_tree(vm, await load_tree(vm))
    show_connection(vm)


def _is_there(store: DiskStore, vmx: DatastorePath) -> bool:
    try:
        return store.volumes.resolve(vmx).is_file()
    except (StorageError, OSError):
        return False
