"""Where a virtual machine is asked to go, and whether it could live there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.container import Container, datacenter_of
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.placement import compute_resource_of, datastore_on
from vmops.lab.machine.devices.disks import disk_files
from vmops.lab.machine.devices.nics import network_of_card
from vmops.lab.machine.devices.parts import label_of, plug_of
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDevice, VirtualEthernetCard
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.machine.machine import Machine

_device = vim.vm.device


@dataclass(frozen=True, slots=True, kw_only=True)
class RelocationTarget:
    """The host, the pool (None for a template) and the folder a machine goes to."""

    host: HostSystem
    pool: Reference | None
    folder: Container


def target_of(
    vm: Machine, *, host: Reference | None, pool: Reference | None, folder: Reference | None
) -> RelocationTarget:
    """Work out where a machine goes; what is not given stays, or follows from what is.

    Raises:
        vmodl.fault.InvalidArgument: host and pool do not belong together, or a pool is missing.
        vim.fault.NoCompatibleHost: the pool's hosts are all out of service.
        vim.fault.InvalidHostState: the host is disconnected or in maintenance mode.
        vmodl.fault.HostNotConnected: the source host is disconnected.
        vim.fault.DuplicateName: the folder has something of the machine's name.
    """
    kernel = vm.kernel
    vm.host.require_connected()
    chosen = _host(vm, host, pool)
    kept_pool = vm.properties["resourcePool"] if pool is None else pool
    if kept_pool is not None and compute_resource_of(kernel, kept_pool) is not chosen.parent:
        raise invalid_argument("spec.pool", "The host needs a pool of its own compute resource.")
    if chosen is not vm.host:
        chosen.require_in_service()
    return RelocationTarget(host=chosen, pool=kept_pool, folder=_folder(vm, folder, chosen))


def _host(vm: Machine, host: Reference | None, pool: Reference | None) -> HostSystem:
    find = vm.kernel.registry.find
    if host is not None:
        return find(host, HostSystem)
    if pool is None:
        return vm.host
    compute = compute_resource_of(vm.kernel, pool)
    of_pool = [find(ref, HostSystem) for ref in compute.properties["host"]]
    if vm.host in of_pool:
        return vm.host
    fit = [each for each in of_pool if each.is_in_service]
    if not fit:
        raise vim.fault.NoCompatibleHost(msg="No host of the resource pool is in service.")
    return min(fit, key=lambda each: len(each.properties["vm"]))


def _folder(vm: Machine, folder: Reference | None, host: HostSystem) -> Container:
    kernel = vm.kernel
    now = vm.parent
    wanted = now if folder is None else kernel.registry.find(folder, ManagedEntity)
    if not isinstance(wanted, Container) or not wanted.holds(vim.VirtualMachine):
        raise invalid_argument("spec.folder", "It does not hold virtual machines.")
    if datacenter_of(wanted) is not datacenter_of(host):
        raise invalid_argument("spec.folder", "The host is in another datacenter.")
    if wanted is not now:
        wanted.check_child_name(vm.name)
    return wanted


def datastore_of_host(host: HostSystem, ref: Reference) -> ManagedEntity:
    """Return a datastore the host can write to.

    Raises:
        vim.fault.InvalidDatastore: it is not mounted there, or not accessible.
    """
    datastore = host.kernel.registry.find(ref, ManagedEntity)
    if not is_accessible(host, datastore.name):
        raise vim.fault.InvalidDatastore(
            datastore=datastore.ref,
            name=datastore.name,
            msg=f"The datastore '{datastore.name}' is not accessible on the host '{host.name}'.",
        )
    return datastore


def is_accessible(host: HostSystem, datastore: str) -> bool:
    """Say whether a host has a datastore of that name mounted and can reach it."""
    found = datastore_on(host.kernel, host, datastore)
    if found is None:
        return False
    mounts = {mount.key._moId: mount.mountInfo for mount in found.properties["host"]}
    info = mounts.get(host.moid)
    return info is not None and info.mounted is not False and info.accessible is not False


def check_devices(devices: Sequence[VirtualDevice], vmx: DatastorePath, host: HostSystem) -> None:
    """Check that a machine would find its files and networks on a host.

    ``devices`` and ``vmx`` are as they will be after the move.

    Raises:
        vim.fault.CannotAccessVmConfig, vim.fault.CannotAccessVmDisk,
            vim.fault.CannotAccessVmDevice, vim.fault.CannotAccessNetwork: what it would miss.
    """
    if not is_accessible(host, vmx.datastore):
        raise vim.fault.CannotAccessVmConfig(
            reason=vim.fault.InvalidDatastore(name=vmx.datastore),
            msg=f"The host '{host.name}' cannot access {vmx}.",
        )
    for device in devices:
        if isinstance(device, _device.VirtualEthernetCard):
            _check_network(device, host)
            continue
        for path in _files(device):
            if not is_accessible(host, path.datastore):
                raise _unreachable(device, path, host)


def _check_network(card: VirtualEthernetCard, host: HostSystem) -> None:
    network = network_of_card(host.kernel, card)
    if network is not None and any(ref == network.ref for ref in host.properties["network"]):
        return
    name = getattr(card.backing, "deviceName", None) or (network.name if network else "")
    raise vim.fault.CannotAccessNetwork(
        device=label_of(card),
        backing=name,
        connected=bool(plug_of(card).connected),
        network=None if network is None else network.ref,
        msg=f"The host '{host.name}' has no network '{name}' for {label_of(card)}.",
    )


def _unreachable(
    device: VirtualDevice, path: DatastorePath, host: HostSystem
) -> vim.fault.CannotAccessVmDevice:
    is_disk = isinstance(device, _device.VirtualDisk)
    kind = vim.fault.CannotAccessVmDisk if is_disk else vim.fault.CannotAccessVmDevice
    fields: dict[str, Any] = {
        "device": label_of(device),
        "backing": str(path),
        "connected": device.connectable is None or bool(device.connectable.connected),
        "msg": f"The host '{host.name}' cannot access {path} of {label_of(device)}.",
    }
    if is_disk:
        fields["fault"] = vim.fault.InvalidDatastore(name=path.datastore)
    return kind(**fields)


def _files(device: VirtualDevice) -> list[DatastorePath]:
    name = getattr(device.backing, "fileName", None)
    if not name or not name.startswith("["):
        return []
    if isinstance(device, _device.VirtualDisk):
        return [DatastorePath.parse(each) for each in disk_files(device)]
    return [DatastorePath.parse(name)]
