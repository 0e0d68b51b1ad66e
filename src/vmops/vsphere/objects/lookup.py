"""From an instance's UUID to its virtual machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from vmops.errors import InstanceNotFound, ManagedObjectNotFound
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import describe

T = TypeVar("T")


def find_vm(session: Session, instance_uuid: str) -> VirtualMachine:
    """The virtual machine of an instance: from the live inventory, else from the server's index.

    Once the inventory is loaded this costs no call.

    Raises:
        InstanceNotFound: there is none.
    """
    if session.inventory.is_loaded:
        known = session.inventory.vm_by_uuid(instance_uuid)
        if known is not None:
            return VirtualMachine(session, known.moref, instance_uuid)
    found = find_vm_on_server(session, instance_uuid)
    if found is None:
        raise InstanceNotFound(instance_uuid)
    return found


def find_vm_on_server(session: Session, instance_uuid: str) -> VirtualMachine | None:
    """The virtual machine of an instance as the server knows it this moment; one call."""
    for moref in session.search_index.virtual_machines(instance_uuid):
        return VirtualMachine(session, moref, instance_uuid)
    return None


def find_unreadable(session: Session, instance_uuid: str) -> VirtualMachine | None:
    """The virtual machine of an instance whose configuration the server cannot read.

    The index of UUIDs does not know it; that of files does. One call for each datastore.
    """
    for datastore in session.inventory.datastores():
        file = DatastorePath(datastore.name, f"{instance_uuid}/{instance_uuid}.vmx")
        datacenter = session.inventory.datacenter(datastore.datacenter)
        moref = session.search_index.by_file(datacenter.moref, file)
        if moref is not None:
            return VirtualMachine(session, moref, instance_uuid)
    return None


@contextlib.contextmanager
def unless_gone(vm: VirtualMachine) -> Iterator[None]:
    """Do something that is done where the VM itself is gone, as taking back what was done to it."""
    try:
        yield
    except ManagedObjectNotFound as gone:
        if gone.moref != describe(vm.moref):
            raise


def with_vm(session: Session, instance_uuid: str, do: Callable[[VirtualMachine], T]) -> T:
    """Do something with an instance's virtual machine, whatever its reference is now.

    A virtual machine that was registered anew has another reference than the one known here: then
    it is looked up on the server, and ``do`` is called once more.

    Raises:
        InstanceNotFound: there is none, or it is gone.
    """
    vm = find_vm(session, instance_uuid)
    try:
        return do(vm)
    except ManagedObjectNotFound as error:
        if error.moref != describe(vm.moref):
            raise
        again = find_vm_on_server(session, instance_uuid)
        if again is None or again.moid == vm.moid:
            raise InstanceNotFound(instance_uuid) from error
        return do(again)
