"""The provisioning checker: whether a machine could move, without moving it."""

from __future__ import annotations

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.machine.machine import Machine
from vmops.lab.operations.power import wrong_state
from vmops.lab.operations.relocation.plan import examine


class ProvisioningChecker(ManagedObject):
    """Makes the checks that a relocation begins with; what they find is in the task's result."""

    wire_type = vim.vm.check.ProvisioningChecker

    def CheckRelocate_Task(
        self, vm: Reference, spec: vim.vm.RelocateSpec, testType: object = None
    ) -> vim.Task:
        """Check a relocation; ``testType`` chooses nothing, for one fault ends the checks."""
        del testType

        async def run(_: TaskRun) -> object:
            return await self._checked(vm, spec)

        return start_task(self, "VirtualMachineProvisioningChecker.checkRelocate", run)

    def CheckMigrate_Task(
        self,
        vm: Reference,
        host: Reference | None = None,
        pool: Reference | None = None,
        state: str | None = None,
        testType: object = None,
    ) -> vim.Task:
        """Check a migration to another host or pool."""
        del testType

        async def run(_: TaskRun) -> object:
            spec = vim.vm.RelocateSpec(host=host, pool=pool)
            return await self._checked(vm, spec, None if state is None else str(state))

        return start_task(self, "VirtualMachineProvisioningChecker.checkMigrate", run)

    async def _checked(
        self, ref: Reference, spec: vim.vm.RelocateSpec, state: str | None = None
    ) -> list[vim.vm.check.Result]:
        vm = self.kernel.registry.find(ref, Machine)
        result = vim.vm.check.Result(vm=vm.ref, host=spec.host or vm.host.ref)
        try:
            if state is not None and vm.power_state != state:
                raise wrong_state(vm, state)
            (await examine(vm, spec)).ports.release()
        except vmodl.MethodFault as fault:
            result.error = [fault]
        return vim.vm.check.Result.Array([result])
