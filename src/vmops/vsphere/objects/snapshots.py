"""Snapshots of virtual machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmops.errors import ManagedObjectNotFound
from vmops.vsphere.objects.nfc_lease import NfcLease
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk, disks_from
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref, moid

if TYPE_CHECKING:
    from pyVmomi import vim


class Snapshot:
    """One snapshot of a virtual machine."""

    def __init__(self, session: Session, moref: Moref) -> None:
        self._session = session
        self.moref = moref

    @property
    def moid(self) -> str:
        """The server's name of it."""
        return moid(self.moref)

    def export(self) -> NfcLease:
        """Begin to export its disks, while the virtual machine may run.

        Raises:
            NotSupported: the endpoint cannot export snapshots.
        """
        return NfcLease(
            self._session, self._session.call(self.moref, "ExportSnapshot"), purpose="export"
        )

    def remove(self, *, missing_ok: bool = False) -> None:
        """Remove it, not those that follow it, and consolidate its disks.

        Where these cannot be consolidated it is removed all the same; see
        `VirtualMachine.needs_consolidation`.

        Raises:
            Busy: another task works on the virtual machine.
        """
        try:
            self._session.run_task(
                self.moref, "RemoveSnapshot_Task", removeChildren=False, consolidate=True
            )
        except ManagedObjectNotFound:
            if not missing_ok:
                raise


def create_snapshot(session: Session, vm: VirtualMachine, name: str, *, quiesce: bool) -> Snapshot:
    """Make a snapshot without the memory; with ``quiesce`` the guest flushes and holds its writes.

    Raises:
        QuiesceFailed: the guest could not be quiesced; there is no snapshot.
        NoDiskSpace: the datastore is full.
    """
    made = session.run_task(
        vm.moref, "CreateSnapshot_Task", name=name, description="", memory=False, quiesce=quiesce
    )
    return Snapshot(session, made)


def find_snapshot(session: Session, vm: VirtualMachine, name: str) -> Snapshot | None:
    """The snapshot of this name, wherever it is in the tree; None if there is none."""
    return next((Snapshot(session, t.snapshot) for t in _trees(vm) if t.name == name), None)


def has_snapshot(vm: VirtualMachine, made: Snapshot) -> bool:
    """Whether the snapshot is in the VM's tree now."""
    return any(moid(tree.snapshot) == made.moid for tree in _trees(vm))


def consolidate_disks(vm: VirtualMachine) -> None:
    """Merge the layers that no snapshot needs any more.

    Raises:
        FileLocked: somebody holds a disk, such as a backup.
        Busy: another task works on the virtual machine.
    """
    vm.session.run_task(vm.moref, "ConsolidateVMDisks_Task")


def snapshot_disks(session: Session, vm: VirtualMachine) -> tuple[VmDisk, ...]:
    """The disks that the snapshots of a virtual machine hold, as they were when those were made."""
    path = "config.hardware.device"
    found = session.properties.read(
        [tree.snapshot for tree in _trees(vm)], "VirtualMachineSnapshot", (path,)
    )
    return tuple(disk for values in found.values() for disk in disks_from(values.get(path) or ()))


def remove_all_snapshots(session: Session, vm: VirtualMachine) -> None:
    """Remove all of a virtual machine's snapshots, and consolidate its disks."""
    session.run_task(vm.moref, "RemoveAllSnapshots_Task", consolidate=True)


def _trees(vm: VirtualMachine) -> Iterator[vim.vm.SnapshotTree]:
    info = vm.read("snapshot").get("snapshot")
    trees = list(info.rootSnapshotList) if info is not None else []
    while trees:
        tree = trees.pop()
        yield tree
        trees.extend(tree.childSnapshotList or ())
