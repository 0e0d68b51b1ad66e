"""Creation of virtual machines: their folder on a datastore, their files, their place."""

from __future__ import annotations

from collections.abc import Callable

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import entity_name, invalid_argument
from vmops.lab.inventory.container import Container
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.placement import choose_host, environment_browser_of
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.config import new_config
from vmops.lab.machine.machine import Place
from vmops.lab.objects.virtual_machine import VirtualMachine
from vmops.lab.operations import properties
from vmops.lab.operations.home import new_home, remove_home
from vmops.lab.operations.journal import Work, journal
from vmops.lab.operations.place import join
from vmops.lab.operations.reconfigure import carry_out, give_policies, keep_connections, plan
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes


async def create_virtual_machine(
    kernel: Kernel,
    folder: Container,
    config: vim.vm.ConfigSpec,
    pool: Reference | None,
    host: Reference | None,
    *,
    on_created: Callable[[VirtualMachine], None],
) -> VirtualMachine:
    """Create a virtual machine, or leave nothing.

    Args:
        kernel: the lab.
        folder: where it appears.
        config: the ConfigSpec; ``files.vmPathName`` names a datastore, a folder or a .vmx file.
        pool: reference to the resource pool.
        host: reference to a host of the pool's compute resource; None chooses one.
        on_created: called right before the machine is in the inventory.

    Raises:
        vim.fault.DuplicateName: the name is taken in the folder.
        vim.fault.FileAlreadyExists: the .vmx file is there, or a disk's file.
        vim.fault.InvalidDatastore: no host of the pool has the datastore.
        vmodl.fault.InvalidArgument: the folder holds no machines, or a value cannot be.
        As `virtual_machine_reconfigure.plan` does.
    """
    if not folder.holds(vim.VirtualMachine):
        raise vmodl.fault.NotSupported(msg="The folder cannot hold virtual machines.")
    name = entity_name(config.name)
    given = config.files.vmPathName if config.files is not None else None
    if not given:
        raise invalid_argument("configSpec.files.vmPathName", "It must name a datastore.")
    with storage_faults(given):
        wanted = DatastorePath.parse(given)
        kernel.service(Volumes).root(wanted.datastore)
    chosen = choose_host(kernel, pool, host, wanted.datastore)
    browser = environment_browser_of(kernel, pool)
    with folder.reserved(name), journal(kernel).work() as work:
        with storage_faults(given):
            home = await new_home(kernel, wanted, name, work)
        try:
            place = Place(folder=folder.ref, host=chosen.ref, pool=pool, browser=browser)
            vm = await _create(kernel, config, name, home.vmx, place, work)
        except BaseException:
            remove_home(kernel.service(Volumes), home)
            raise
        on_created(vm)
        join(vm)
    await properties.refresh_files(vm)
    return vm


async def _create(
    kernel: Kernel, spec: vim.vm.ConfigSpec, name: str, vmx: DatastorePath, place: Place, work: Work
) -> VirtualMachine:
    config = new_config(name, vmx)
    host = kernel.registry.find(place.host, HostSystem)
    outcome = await plan(kernel, config, spec, vmx, host, "poweredOff")
    try:
        await carry_out(kernel, outcome, vmx, work)
        keep_connections(config, ())
        vm = VirtualMachine(
            kernel, kernel.new_moid("vm"), name=name, vmx=vmx, config=config, place=place
        )
        give_policies(vm, outcome)
    finally:
        outcome.release()
    return vm
