"""Snapshots of virtual machines."""

from __future__ import annotations

from typing import Any

from vmops.errors import ManagedObjectNotFound
from vmops.progress import Observer
from vmops.vsphere.moref import Moref, moid
from vmops.vsphere.nfc_lease import NfcLease
from vmops.vsphere.session import Session
from vmops.vsphere.virtual_machine import VirtualMachine


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

    def remove(self, *, missing_ok: bool = False, observe: Observer | None = None) -> None:
        """Remove it, not those that follow it, and consolidate its disks.

        Raises:
            Busy: another task works on the virtual machine.
        """
        try:
            self._session.run_task(
                self.moref,
                "RemoveSnapshot_Task",
                observe=observe,
                removeChildren=False,
                consolidate=True,
            )
        except ManagedObjectNotFound:
            if not missing_ok:
                raise


def create_snapshot(
    session: Session,
    vm: VirtualMachine,
    name: str,
    *,
    quiesce: bool,
    observe: Observer | None = None,
) -> Snapshot:
    """Make a snapshot without the memory; with ``quiesce`` the guest flushes and holds its writes.

    Raises:
        QuiesceFailed: the guest could not be quiesced; there is no snapshot.
        NoDiskSpace: the datastore is full.
    """
    made: Any = session.run_task(
        vm.moref,
        "CreateSnapshot_Task",
        observe=observe,
        name=name,
        description="",
        memory=False,
        quiesce=quiesce,
    )
    return Snapshot(session, made)


def find_snapshot(session: Session, vm: VirtualMachine, name: str) -> Snapshot | None:
    """The snapshot of this name, wherever it is in the tree; None if there is none."""
    info = vm.read("snapshot").get("snapshot")
    trees = list(info.rootSnapshotList) if info is not None else []
    while trees:
        tree = trees.pop()
        if tree.name == name:
            return Snapshot(session, tree.snapshot)
        trees.extend(tree.childSnapshotList or ())
    return None
