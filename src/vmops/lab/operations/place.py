"""A virtual machine's place in the inventory, and what refers to it from there."""

from __future__ import annotations

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.container import Container
from vmops.lab.inventory.placement import choose_host, datastore_on, environment_browser_of
from vmops.lab.inventory.references import link, unlink
from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.machine.devices.nics import network_refs
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshots.shown_tree import forget_snapshots
from vmops.lab.operations.power import move_to_host, refuse_unless_off
from vmops.lab.storage.paths import DatastorePath

_device = vim.vm.device


def join(vm: Machine) -> None:
    """Make a machine exist in its folder, on its host, in its pool, with its networks."""
    kernel = vm.kernel
    vm.properties["datastore"] = _datastores(vm)
    vm.properties["network"] = _networks(vm)
    kernel.add(vm)
    for holder, name in _holders(vm):
        link(kernel, holder, name, vm.ref)


def forget(vm: Machine) -> None:
    """Take a machine out of the inventory."""
    for holder, name in _holders(vm):
        unlink(vm.kernel, holder, name, vm.ref)
    forget_snapshots(vm)
    vm.kernel.remove(vm)


def follow_devices(vm: Machine) -> None:
    """Follow changed devices: the lists of datastores and networks, and those that list it."""
    for name, now in (("datastore", _datastores(vm)), ("network", _networks(vm))):
        before = vm.properties[name]
        if [ref._moId for ref in before] == [ref._moId for ref in now]:
            continue
        vm.kernel.update(vm, {name: now})
        for ref in before:
            if ref not in now and ref._moId in vm.kernel.registry:
                unlink(vm.kernel, vm.kernel.registry.get(ref), "vm", vm.ref)
        for ref in now:
            link(vm.kernel, vm.kernel.registry.get(ref), "vm", vm.ref)


def _holders(vm: Machine) -> list[tuple[ManagedObject, str]]:
    find = vm.kernel.registry.get
    refs = [vm.properties["runtime"].host, vm.properties["resourcePool"]]
    refs += [*vm.properties["datastore"], *vm.properties["network"]]
    there = [ref for ref in refs if ref is not None and ref._moId in vm.kernel.registry]
    folder = vm.parent
    held: list[tuple[ManagedObject, str]] = [(find(ref), "vm") for ref in there]
    return [*held, (folder, "childEntity")] if isinstance(folder, Container) else held


def _datastores(vm: Machine) -> list[Reference]:
    names = {vm.vmx.datastore: None}
    for device in vm.devices:
        text = getattr(device.backing, "fileName", None)
        if text and text.startswith("["):
            names[DatastorePath.parse(text).datastore] = None
    found = (datastore_on(vm.kernel, vm.host, name) for name in names)
    return [datastore.ref for datastore in found if datastore is not None]


def _networks(vm: Machine) -> list[Reference]:
    cards = [each for each in vm.devices if isinstance(each, _device.VirtualEthernetCard)]
    return network_refs(vm.kernel, cards)


def mark_as_template(vm: Machine) -> None:
    """See `VirtualMachine.MarkAsTemplate`."""
    if vm.kernel.settings.esx or vm.is_template:
        raise vmodl.fault.NotSupported(msg="The machine cannot become a template.")
    refuse_unless_off(vm)
    pool = vm.properties["resourcePool"]
    if pool is not None:
        unlink(vm.kernel, vm.kernel.registry.get(pool), "vm", vm.ref)
    vm.publish({"config.template": True, "resourcePool": None})


def mark_as_virtual_machine(vm: Machine, pool: Reference | None, host: Reference | None) -> None:
    """See `VirtualMachine.MarkAsVirtualMachine`."""
    if not vm.is_template:
        raise vmodl.fault.NotSupported(msg="The machine is not a template.")
    chosen = choose_host(vm.kernel, pool, host or vm.host.ref, vm.vmx.datastore)
    move_to_host(vm, chosen)
    link(vm.kernel, vm.kernel.registry.get(pool), "vm", vm.ref)
    vm.publish(
        {
            "config.template": False,
            "resourcePool": pool,
            "environmentBrowser": environment_browser_of(vm.kernel, pool),
        }
    )
