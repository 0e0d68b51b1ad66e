"""VirtualMachine.ExportVm: a lease to fetch a virtual machine's disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.objects.lab_address import lab_address
from vmops.lab.objects.nfc_disks import lease_disks
from vmops.lab.objects.nfc_lease import HttpNfcLease

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.objects.virtual_machine import VirtualMachine


def export_vm(kernel: Kernel, vm: VirtualMachine) -> Any:
    """Return a lease to fetch the disks of a virtual machine that is powered off.

    Raises:
        vim.fault.InvalidPowerState: it is not powered off.
    """
    state = vm.properties["runtime"].powerState
    if state != vim.VirtualMachine.PowerState.poweredOff:
        raise vim.fault.InvalidPowerState(
            existingState=state, requestedState=vim.VirtualMachine.PowerState.poweredOff
        )

    async def prepare() -> None:
        address = await kernel.blocking(lab_address, kernel.settings)
        lease.make_ready(vm.ref, lease_disks(vm), address)

    lease = HttpNfcLease(kernel, "pull")
    kernel.add(lease)
    lease.start(prepare())
    return lease.ref
