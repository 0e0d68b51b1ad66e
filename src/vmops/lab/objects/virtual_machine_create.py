"""Creation of virtual machines: their folder on a datastore, their files, their place."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from vmops.lab.objects import virtual_machine_properties
from vmops.lab.objects.argument_faults import directory_name, entity_name, invalid_argument
from vmops.lab.objects.container import Container
from vmops.lab.objects.file_faults import storage_faults
from vmops.lab.objects.placement import choose_host, environment_browser_of
from vmops.lab.objects.virtual_machine import Place, VirtualMachine
from vmops.lab.objects.virtual_machine_config import new_config
from vmops.lab.objects.virtual_machine_destroy import destroy_unlocked
from vmops.lab.objects.virtual_machine_place import join
from vmops.lab.objects.virtual_machine_reconfigure import carry_out, keep_connections, plan
from vmops.lab.storage.errors import FileExists
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.task import TaskRun


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a new machine's .vmx file is, reserved by an empty file."""

    vmx: DatastorePath
    made_folder: bool


async def create_virtual_machine(
    kernel: Kernel,
    folder: Container,
    config: Any,
    pool: Any,
    host: Any,
    *,
    run: TaskRun | None,
) -> VirtualMachine:
    """Create a virtual machine, or leave nothing.

    Args:
        kernel: the lab.
        folder: where it appears.
        config: the ConfigSpec; ``files.vmPathName`` names a datastore, a folder or a .vmx file.
        pool: reference to the resource pool.
        host: reference to a host of the pool's compute resource; None chooses one.
        run: the task, told how far it is; None if there is none.

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
    with folder.reserved(name):
        with storage_faults(given):
            home = await _new_home(kernel, wanted, name)
        try:
            vm = await _create(kernel, config, name, home.vmx, chosen, folder, pool, browser)
        except BaseException:
            _remove_home(kernel.service(Volumes), home)
            raise
        join(vm)
    if run is not None:
        run.progress(90)
    await virtual_machine_properties.refresh_files(vm)
    return vm


async def _create(  # noqa: PLR0913, PLR0917
    kernel: Kernel,
    spec: Any,
    name: str,
    vmx: DatastorePath,
    host: Any,
    folder: Container,
    pool: Any,
    browser: Any,
) -> VirtualMachine:
    config = new_config(name, vmx)
    outcome = await plan(kernel, config, spec, vmx, host, "poweredOff")
    try:
        await carry_out(kernel, outcome, vmx)
        keep_connections(config, ())
        vm = VirtualMachine(
            kernel,
            kernel.new_moid("vm"),
            name=name,
            vmx=vmx,
            config=config,
            place=Place(folder=folder.ref, host=host.ref, pool=pool, browser=browser),
        )
    finally:
        outcome.ports.release()
    return vm


async def destroy_virtual_machine(kernel: Kernel, vm: VirtualMachine) -> None:
    """Remove a machine from the inventory and delete its files, after what it is doing now.

    Raises:
        vim.fault.InvalidPowerState: it is on.
    """
    async with vm.lock:
        if vm.moid in kernel.registry:
            await destroy_unlocked(vm)


async def _new_home(kernel: Kernel, wanted: DatastorePath, name: str) -> _Home:
    """Make a machine's home on a thread, or none if the lab stops meanwhile."""
    volumes = kernel.service(Volumes)
    making = asyncio.ensure_future(kernel.blocking(_make_home, volumes, wanted, name))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait([making])
        if making.exception() is None:
            _remove_home(volumes, making.result())
        raise


def _make_home(volumes: Volumes, wanted: DatastorePath, name: str) -> _Home:
    """Reserve the .vmx file. Blocking.

    A datastore alone gets a folder called like the machine, numbered if that is taken; a folder
    gets a .vmx file called like the machine.
    """
    plain = directory_name(name)
    if not wanted.path:
        for number in itertools.count():
            folder = wanted.joined(f"{plain}_{number}" if number else plain)
            with suppress(FileExistsError):
                volumes.resolve(folder).mkdir()
                return _reserve(volumes, folder.joined(f"{folder.name}.vmx"), made_folder=True)
    vmx = wanted
    if not wanted.name.endswith((".vmx", ".vmtx")):
        vmx = wanted.joined(f"{plain}.vmx")
    made = False
    with suppress(FileExistsError):
        volumes.resolve(vmx.parent).mkdir()
        made = True
    return _reserve(volumes, vmx, made_folder=made)


def _reserve(volumes: Volumes, vmx: DatastorePath, *, made_folder: bool) -> _Home:
    home = _Home(vmx, made_folder)
    try:
        with volumes.resolve(vmx).open("xb"):
            return home
    except FileExistsError:
        raise FileExists(vmx) from None


def _remove_home(volumes: Volumes, home: _Home) -> None:
    with suppress(OSError):
        volumes.resolve(home.vmx).unlink(missing_ok=True)
    if home.made_folder:
        with suppress(OSError):
            volumes.resolve(home.vmx.parent).rmdir()
