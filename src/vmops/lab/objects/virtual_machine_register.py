"""Virtual machines found by their .vmx file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import entity_name, invalid_argument
from vmops.lab.inventory.container import Container
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.placement import choose_host, environment_browser_of
from vmops.lab.machine.config import instance_uuid
from vmops.lab.machine.load import load
from vmops.lab.machine.machine import Place
from vmops.lab.machine.snapshots.files import load_tree
from vmops.lab.machine.snapshots.shown_tree import show_tree
from vmops.lab.machine.vmx_file import write_vmx
from vmops.lab.objects.virtual_machine import VirtualMachine
from vmops.lab.operations import properties
from vmops.lab.operations.place import join
from vmops.lab.operations.snapshots.merge import show_need
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What RegisterVM_Task is asked for."""

    path: str
    name: str | None
    as_template: bool
    pool: Reference | None
    host: Reference | None


async def register(kernel: Kernel, folder: Container, wanted: Registration) -> VirtualMachine:
    """Add the machine of a .vmx file to the inventory, with all that the file says.

    Raises:
        vim.fault.NotFound: there is no such file.
        vim.fault.InvalidDatastorePath: the path is malformed.
        vim.fault.AlreadyExists: its machine is in the inventory.
        vim.fault.DuplicateName: the name is taken in the folder.
        vim.fault.VmConfigFault: the file is no .vmx file.
        vmodl.fault.InvalidArgument: no pool for a machine, a pool for a template, or no host.
    """
    with storage_faults(wanted.path):
        vmx = DatastorePath.parse(wanted.path)
        kernel.service(DiskStore).volumes.root(vmx.datastore)
    if wanted.as_template and wanted.pool is not None:
        raise invalid_argument("pool", "A template has no pool.")
    if wanted.as_template and wanted.host is None:
        raise invalid_argument("host", "A template needs a host.")
    _refuse_registered(kernel, vmx)
    pool = wanted.pool
    if wanted.as_template:
        host = kernel.registry.find(wanted.host, HostSystem)
        compute = host.parent
        browser: Any = compute.properties["environmentBrowser"] if compute is not None else None
    else:
        host = choose_host(kernel, pool, wanted.host, vmx.datastore)
        browser = environment_browser_of(kernel, pool)
    config = await load(kernel, vmx, host)
    config.template = wanted.as_template
    config.name = entity_name(wanted.name or config.name)
    with folder.reserved(config.name):
        await _resolve_conflict(kernel, vmx, config)
        _refuse_registered(kernel, vmx)  # it may have come meanwhile
        vm = VirtualMachine(
            kernel,
            kernel.new_moid("vm"),
            name=config.name,
            vmx=vmx,
            config=config,
            place=Place(folder=folder.ref, host=host.ref, pool=pool, browser=browser),
        )
        join(vm)
        show_tree(vm, await load_tree(vm))
    await show_need(vm)
    await properties.refresh_files(vm)
    return vm


def _refuse_registered(kernel: Kernel, vmx: DatastorePath) -> None:
    if any(vm.vmx == vmx for vm in kernel.registry.all(VirtualMachine)):
        raise vim.fault.AlreadyExists(
            name=str(vmx), msg=f"The machine of {vmx} is in the inventory."
        )


async def _resolve_conflict(kernel: Kernel, vmx: DatastorePath, config: ConfigInfo) -> None:
    """Give the machine another instance UUID if one in the inventory has its own.

    vCenter does so to a copy of a machine that is registered.
    """
    taken = {vm.instance_uuid for vm in kernel.registry.all(VirtualMachine)}
    if not kernel.settings.esx and config.instanceUuid in taken:
        config.instanceUuid = instance_uuid()
        volumes = kernel.service(DiskStore).volumes
        with storage_faults(vmx):
            await kernel.blocking(write_vmx, volumes, vmx, config)
