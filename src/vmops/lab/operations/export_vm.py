"""Leases to fetch the disks of a virtual machine, or of a snapshot of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.inventory.lab_address import lab_address
from vmops.lab.machine.nfc_lease import HttpNfcLease
from vmops.lab.machine.snapshots.shown_tree import snapshot_ref
from vmops.lab.operations.nfc_disks import lease_disks

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.machine.machine import Machine
    from vmops.lab.machine.snapshot_tree import Snapshot


def export_vm(kernel: Kernel, vm: Machine) -> Reference:
    """Return a lease to fetch the disks of a virtual machine that is powered off.

    Raises:
        vim.fault.InvalidPowerState: it is not powered off.
    """
    state = vm.properties["runtime"].powerState
    if state != vim.VirtualMachine.PowerState.poweredOff:
        raise vim.fault.InvalidPowerState(
            existingState=state, requestedState=vim.VirtualMachine.PowerState.poweredOff
        )

    return _lease(kernel, vm, vm.properties["config"], None)


def export_snapshot(kernel: Kernel, vm: Machine, snapshot: Snapshot) -> Reference:
    """Return a lease to fetch the disks of a snapshot, whatever its machine does meanwhile.

    The snapshot cannot be removed as long as the lease is open.
    """
    return _lease(kernel, vm, snapshot.config, snapshot_ref(vm, snapshot.uid))


def _lease(
    kernel: Kernel, vm: Machine, config: ConfigInfo, snapshot: Reference | None
) -> Reference:
    async def prepare() -> None:
        address = await kernel.blocking(lab_address, kernel.settings)
        lease.make_ready(vm.ref, lease_disks(vm, config), address)

    lease = HttpNfcLease(kernel, "pull")
    lease.snapshot = snapshot
    kernel.add(lease)
    lease.start(prepare())
    return lease.ref
