"""ResourcePool.ImportVApp: a new virtual machine whose disks the client sends over a lease."""

from __future__ import annotations

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.container import Container
from vmops.lab.inventory.lab_address import lab_address
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.nfc_lease import HttpNfcLease
from vmops.lab.objects.unfinished_imports import unfinished_imports
from vmops.lab.objects.virtual_machine_create import create_virtual_machine
from vmops.lab.operations.destroy import destroy
from vmops.lab.operations.nfc_disks import lease_disks


def import_vapp(
    kernel: Kernel,
    pool: ManagedEntity,
    spec: vim.ImportSpec,
    folder: Reference | None,
    host: Reference | None,
) -> Reference:
    """Start creating the virtual machine of a VirtualMachineImportSpec; return the lease.

    What goes wrong on the way is the lease's error, as on vCenter. The machine is destroyed unless
    the lease is completed.

    Raises:
        vmodl.fault.NotSupported: the spec is that of a vApp.
        vmodl.fault.InvalidArgument: the folder is missing or cannot hold virtual machines.
        vmodl.fault.ManagedObjectNotFound: there is no such folder, pool or host.
    """
    if not isinstance(spec, vim.vm.VmImportSpec):
        raise vmodl.fault.NotSupported(msg="Only single virtual machines can be imported.")
    if folder is None:
        raise invalid_argument("folder", "It is needed outside of a vApp.")
    place = kernel.registry.find(folder, Container)
    if not place.holds(vim.VirtualMachine):
        raise invalid_argument("folder", "It cannot hold virtual machines.")
    pool_ref = pool.ref
    if spec.resPoolEntity is not None:
        pool_ref = kernel.registry.get(spec.resPoolEntity).ref
    if host is not None:
        kernel.registry.get(host)
    work = _Import(kernel)
    lease = HttpNfcLease(kernel, "push", work.undo, work.finish)
    kernel.add(lease)
    lease.start(work.create(lease, place, spec.configSpec, pool_ref, host))
    return lease.ref


class _Import:
    """The virtual machine of one lease, while it is only half there."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._vm: Machine | None = None

    async def create(
        self,
        lease: HttpNfcLease,
        folder: Container,
        config: vim.vm.ConfigSpec,
        pool: Reference | None,
        host: Reference | None,
    ) -> None:
        """Create the virtual machine with empty disks, then make the lease ready."""
        vm = await create_virtual_machine(
            self._kernel, folder, config, pool, host, on_created=self._created
        )
        address = await self._kernel.blocking(lab_address, self._kernel.settings)
        lease.make_ready(vm.ref, lease_disks(vm), address)

    def _created(self, vm: Machine) -> None:
        # Noted before it is in the inventory: who finds it there knows that it is not finished.
        self._vm = vm
        unfinished_imports(self._kernel).add(vm)

    async def undo(self) -> None:
        """Destroy the virtual machine, if it is there."""
        if self._vm is not None and self._vm.moid in self._kernel.registry:
            await destroy(self._vm)
        self.finish()

    def finish(self) -> None:
        """Take note that the virtual machine stays, or is gone."""
        if self._vm is not None:
            unfinished_imports(self._kernel).remove(self._vm)
        self._vm = None
