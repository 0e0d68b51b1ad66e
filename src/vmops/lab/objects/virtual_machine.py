"""A virtual machine: its properties and methods. The work of each is done beside, by subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyVmomi import vim, vmodl

from vmops.lab.hypervisor.tools import NO_TOOLS
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.tools_info import guest_info
from vmops.lab.objects.virtual_machine_snapshot import VirtualMachineSnapshot
from vmops.lab.operations import (
    connection_state,
    console_tickets,
    destroy,
    first_class_attach,
    place,
    power,
    properties,
    questions,
    reconfigure,
    screenshot,
    tools,
)
from vmops.lab.operations.clone import clone
from vmops.lab.operations.export_vm import export_vm
from vmops.lab.operations.relocation import relocate
from vmops.lab.operations.snapshots import create, remove, revert
from vmops.lab.operations.snapshots.create import NewSnapshot

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.machine.machine import Place
    from vmops.lab.storage.paths import DatastorePath


class VirtualMachine(Machine):
    """A virtual machine of the API."""

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        vmx: DatastorePath,
        config: ConfigInfo | None,
        place: Place,
    ) -> None:
        super().__init__(kernel, moid, name=name, vmx=vmx, config=config, place=place)
        self.properties.update(
            guest=guest_info(self, "poweredOff", NO_TOOLS), capability=properties.capability()
        )
        self.computed["summary"] = lambda: properties.summary(self)
        self.computed["resourceConfig"] = lambda: properties.resource_config(self)

    def Rename_Task(self, newName: str) -> vim.Task:
        """Rename the machine in the inventory and its .vmx file; no file gets another name."""
        return self.start_task("rename", lambda _: reconfigure.rename(self, newName))

    def ReconfigVM_Task(self, spec: vim.vm.ConfigSpec) -> vim.Task:
        """Change configuration and devices, all or nothing; see `reconfigure`."""
        return self.start_task("reconfigure", lambda _: reconfigure.reconfigure(self, spec))

    def PowerOnVM_Task(self, host: Reference | None = None) -> vim.Task:
        """Start the guest, or resume it; see `power.power_on`."""
        return self.start_task("powerOn", lambda _: power.power_on(self, host))

    def PowerOffVM_Task(self) -> vim.Task:
        """End the guest, or drop its suspended memory."""
        return self.start_task("powerOff", lambda _: power.power_off(self))

    def SuspendVM_Task(self) -> vim.Task:
        """Write the guest's memory to a file and end it."""
        return self.start_task("suspend", lambda _: power.suspend(self))

    def ResetVM_Task(self) -> vim.Task:
        """Restart the guest as its reset button would."""
        return self.start_task("reset", lambda _: power.reset(self))

    async def ShutdownGuest(self) -> None:
        """Ask the guest's tools to shut it down; see `tools.shut_down`."""
        self.require_reachable()
        await tools.shut_down(self)

    async def RebootGuest(self) -> None:
        """Ask the guest's tools to reboot it; see `tools.reboot`."""
        self.require_reachable()
        await tools.reboot(self)

    async def StandbyGuest(self) -> None:
        """Ask the guest's tools to sleep, and suspend it; see `tools.stand_by`."""
        self.require_reachable()
        await tools.stand_by(self)

    def Destroy_Task(self) -> vim.Task:
        """Remove the machine from the inventory and delete its files."""
        # What is known of its disks is needed to delete them.
        return self.start_task("destroy", lambda _: destroy.destroy_unlocked(self), looks=False)

    async def UnregisterVM(self) -> None:
        """Remove the machine from the inventory; its files stay.

        Raises:
            vim.fault.InvalidPowerState: it is on.
            vmodl.fault.HostNotConnected: its host is disconnected.
        """
        async with self.lock:
            self.host.require_connected()
            power.refuse_if_on(self)
            place.forget(self)

    async def MarkAsTemplate(self) -> None:
        """Make the machine a template, out of its pool.

        Raises:
            vim.fault.InvalidPowerState: it is not off.
            vmodl.fault.NotSupported: it is a template, or the lab is a single host.
        """
        async with self.lock:
            self.require_reachable()
            place.mark_as_template(self)

    async def MarkAsVirtualMachine(self, pool: Reference, host: Reference | None = None) -> None:
        """Make the template a virtual machine again, in a pool.

        Raises:
            vmodl.fault.NotSupported: it is no template.
            vmodl.fault.InvalidArgument: the host is not of the pool's compute resource.
        """
        async with self.lock:
            self.require_reachable()
            place.mark_as_virtual_machine(self, pool, host)

    def CloneVM_Task(self, folder: Reference, name: str, spec: vim.vm.CloneSpec) -> vim.Task:
        """Clone the machine or one of its snapshots; see `clone.clone`."""
        return self.start_task(
            "clone", lambda run: clone.clone(self, folder, name, spec, run), cancelable=True
        )

    def AttachDisk_Task(
        self,
        diskId: vim.vslm.ID,
        datastore: Reference,
        controllerKey: int | None = None,
        unitNumber: int | None = None,
    ) -> vim.Task:
        """Attach a first class disk; see `first_class_attach.attach`."""
        return self.start_task(
            "attachDisk",
            lambda _: first_class_attach.attach(self, diskId, datastore, controllerKey, unitNumber),
        )

    def DetachDisk_Task(self, diskId: vim.vslm.ID) -> vim.Task:
        """Detach a first class disk; see `first_class_attach.detach`."""
        return self.start_task("detachDisk", lambda _: first_class_attach.detach(self, diskId))

    def RelocateVM_Task(self, spec: vim.vm.RelocateSpec, priority: object = None) -> vim.Task:
        """Move the machine, its guest running on; see `relocate.relocate`."""
        del priority  # one machine moves at a time
        return self.start_task(
            "relocate", lambda run: relocate.relocate(self, spec, run), cancelable=True
        )

    def MigrateVM_Task(
        self,
        pool: Reference | None = None,
        host: Reference | None = None,
        priority: object = None,
        state: str | None = None,
    ) -> vim.Task:
        """Move the machine to another host; see `relocate.migrate`."""
        del priority
        return self.start_task(
            "migrate",
            lambda run: relocate.migrate(self, pool=pool, host=host, state=state, run=run),
            cancelable=True,
        )

    def CreateSnapshot_Task(
        self, name: str, description: str | None = None, memory: bool = False, quiesce: bool = False
    ) -> vim.Task:
        """Take a snapshot; see `create.create`."""
        wanted = NewSnapshot(
            name=name, description=description or "", memory=bool(memory), quiesce=bool(quiesce)
        )
        return self.start_task("createSnapshot", lambda _: create.create(self, wanted))

    def CreateSnapshotEx_Task(
        self,
        name: str,
        description: str | None = None,
        memory: bool = False,
        quiesceSpec: object = None,
    ) -> vim.Task:
        """Take a snapshot; ``quiesceSpec`` asks for a guest held still, its details count not."""
        return self.CreateSnapshot_Task(name, description, memory, quiesceSpec is not None)

    def RevertToCurrentSnapshot_Task(
        self, host: Reference | None = None, suppressPowerOn: bool | None = None
    ) -> vim.Task:
        """Put the machine back to the snapshot it stands on.

        Raises:
            vim.fault.NotFound: it stands on none.
        """
        stay_off = bool(suppressPowerOn)
        return self.start_task(
            "revertToCurrentSnapshot",
            lambda _: revert.revert_to_current(self, host, stay_off=stay_off),
        )

    def RemoveAllSnapshots_Task(
        self, consolidate: bool | None = None, spec: object = None
    ) -> vim.Task:
        """Remove all snapshots, and merge their disks unless ``consolidate`` is false.

        Raises:
            vmodl.fault.NotSupported: ``spec`` selects some of them.
        """
        if spec is not None:
            raise vmodl.fault.NotSupported(msg="Snapshots are removed one by one, or all.")
        merges = consolidate is not False
        return self.start_task(
            "removeAllSnapshots",
            lambda run: remove.remove_all(self, merge_disks=merges, progress=run.progress),
        )

    def ConsolidateVMDisks_Task(self) -> vim.Task:
        """Merge disks that no snapshot needs any more; see `remove.consolidate`."""
        return self.start_task(
            "consolidateDisks", lambda run: remove.consolidate(self, run.progress)
        )

    def start_migration(self, host: Reference) -> vim.Task:
        """Start the task of moving to another host, as DRS does it."""
        return self.MigrateVM_Task(host=host)

    async def AcquireTicket(self, ticketType: str) -> vim.VirtualMachine.Ticket:
        """Return a ticket for the console; see `console_tickets.acquire`."""
        return await console_tickets.acquire(self, ticketType)

    async def AcquireMksTicket(self) -> vim.VirtualMachine.MksTicket:
        """Return a ticket for the console; see `console_tickets.acquire_mks`."""
        return await console_tickets.acquire_mks(self)

    def CreateScreenshot_Task(self) -> vim.Task:
        """Write the guest's screen to a PNG file beside the .vmx file; the result is its path."""
        return self.start_task("createScreenshot", lambda _: screenshot.create(self))

    async def RefreshStorageInfo(self) -> None:
        """Look at the machine's files again."""
        self.require_reachable()
        await self.look_again()
        await properties.refresh_files(self)

    async def Reload(self) -> None:
        """Read the machine's files again, unless it is on.

        Raises:
            vim.fault.NotFound, vim.fault.VmConfigFault: they are gone, or cannot be used.
        """
        async with self.lock:
            self.require_reachable()
            if self.power_state == "poweredOff":
                await connection_state.read_again(self)

    async def look_again(self) -> None:
        """Follow what happened to its host or its datastore; see `connection_state.look_again`."""
        await connection_state.look_again(self)

    async def look_at_files(self) -> None:
        """See `connection_state.look_at_files`."""
        await connection_state.look_at_files(self)

    def snapshot_object(self, uid: int) -> VirtualMachineSnapshot:
        """Build the object of a snapshot."""
        return VirtualMachineSnapshot(self, uid)

    def AnswerVM(self, questionId: str, answerChoice: str) -> None:
        """Answer the question in ``runtime.question``; see `questions.answer`."""
        self.require_reachable()
        questions.answer(self, questionId, answerChoice)

    def ExportVm(self) -> Reference:
        """Return a lease to fetch the machine's disks; see `export_vm`."""
        self.require_reachable()
        return export_vm(self.kernel, self)

    def QueryConnections(self) -> list[object]:
        """Return no connections: the lab counts none."""
        return []
