"""A virtual machine: its properties and methods. The work of each is done beside, by subject."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from vmops.lab.hypervisor.tools import NO_TOOLS
from vmops.lab.inventory.argument_faults import invalid_state
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.machine.disk_datastores import name_datastores
from vmops.lab.machine.tools_info import ToolsMemory, guest_info
from vmops.lab.objects.virtual_machine_snapshots import MachineWithSnapshots
from vmops.lab.operations import (
    connection_state,
    console_tickets,
    destroy,
    first_class_attach,
    power,
    properties,
    questions,
    reconfigure,
    screenshot,
    tools,
)
from vmops.lab.operations import place as virtual_machine_place
from vmops.lab.operations.clone import clone
from vmops.lab.operations.export_vm import export_vm
from vmops.lab.operations.relocation import relocate
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.task import TaskRun
    from vmops.lab.machine.files import VmFile
    from vmops.lab.operations.place import Place
    from vmops.lab.operations.questions import PendingQuestion


class VirtualMachine(MachineWithSnapshots):
    """A virtual machine; ``config`` is None when its files cannot be read.

    Operations that change it wait for each other (``lock``).
    """

    wire_type = vim.VirtualMachine

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        vmx: DatastorePath,
        config: Any,
        place: Place,
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=place.folder)
        self.vmx = vmx
        self.lock = asyncio.Lock()
        self.is_orphaned = False
        """Whether its host has forgotten it."""
        self.has_files = config is not None
        """Whether its .vmx file was there when last looked."""
        self.pending_question: PendingQuestion | None = None
        self.questions_asked = 0
        self.starting = False
        """Whether a guest is being started right now, and so has its disks."""
        self.files: tuple[VmFile, ...] = ()
        """The machine's files as last looked at."""
        self.files_seen_at = datetime.now(UTC)
        self.tools = ToolsMemory()
        self.last_uuids: tuple[str | None, str | None] = None, None
        """The instance and BIOS UUIDs as last known, for when the configuration is not."""
        self.policies: dict[str, str] = {}
        """Storage policies; see `storage_policies.asked_policies`."""
        name_datastores(kernel, {"config": config})
        self.properties.update(
            config=config,
            runtime=properties.runtime(place.host, is_accessible=config is not None),
            guest=guest_info(self, "poweredOff", NO_TOOLS),
            capability=properties.capability(),
            resourcePool=place.pool,
            environmentBrowser=place.browser,
            datastore=[],
            network=[],
            rootSnapshot=[],
            guestHeartbeatStatus=vim.ManagedEntity.Status.gray,
        )
        self.computed["summary"] = lambda: properties.summary(self)
        self.computed["resourceConfig"] = lambda: properties.resource_config(self)

    @property
    def config(self) -> Any:
        """The ConfigInfo.

        Raises:
            vim.fault.InvalidState: the machine's files cannot be read.
        """
        config = self.properties["config"]
        if config is None:
            raise invalid_state(f"The files of '{self.name}' are not accessible.")
        return config

    @property
    def is_accessible(self) -> bool:
        """Whether the machine's configuration could be read."""
        return self.properties["config"] is not None

    @property
    def power_state(self) -> str:
        """The state as the wire says it: poweredOn, poweredOff or suspended."""
        return str(self.properties["runtime"].powerState)

    @property
    def is_template(self) -> bool:
        """Whether it is a template, which has no pool and cannot be powered on."""
        config = self.properties["config"]
        if config is None:
            return self.properties["resourcePool"] is None
        return bool(config.template)

    @property
    def devices(self) -> list[Any]:
        """All devices; none if the machine is not accessible."""
        config = self.properties["config"]
        return [] if config is None else list(config.hardware.device)

    @property
    def vmx_path(self) -> str:
        """The datastore path of the .vmx file."""
        return str(self.vmx)

    @property
    def directory(self) -> DatastorePath:
        """The folder of the .vmx file."""
        return self.vmx.parent

    @property
    def memory_mib(self) -> int:
        """The configured memory; 0 if the machine is not accessible."""
        config = self.properties["config"]
        return 0 if config is None else int(config.hardware.memoryMB)

    @property
    def instance_uuid(self) -> str | None:
        """The instance UUID in lower case; of a machine that is not accessible the last known."""
        config = self.properties["config"]
        return self.last_uuids[0] if config is None else config.instanceUuid

    @property
    def bios_uuid(self) -> str | None:
        """The BIOS UUID in lower case; of a machine that is not accessible the last known."""
        config = self.properties["config"]
        return self.last_uuids[1] if config is None else config.uuid

    @property
    def host(self) -> HostSystem:
        """The host it is on."""
        return self.kernel.registry.find(self.properties["runtime"].host, HostSystem)

    def guest_address(self, name: str) -> str | None:
        """Return a field of the guest's information, which only its tools fill."""
        value = getattr(self.properties["guest"], name)
        return None if value is None else str(value)

    def publish(self, changes: Mapping[str, Any]) -> None:
        """Change properties; the summary, which repeats many of them, counts as changed too."""
        name_datastores(self.kernel, changes)
        self.last_uuids = self.instance_uuid, self.bios_uuid
        self.kernel.update(self, changes)
        self.kernel.touch(self, "summary")

    def renamed(self, name: str) -> dict[str, Any]:
        """Return the changes of a new name, which the configuration repeats."""
        changes: dict[str, Any] = {"name": name}
        if self.is_accessible:
            changes["config.name"] = name
        return changes

    def start_task(
        self,
        method: str,
        work: Callable[[TaskRun], Awaitable[Any]],
        *,
        cancelable: bool = False,
        looks: bool = True,
    ) -> Any:
        """Run a method's work in a task, after what this machine is doing now.

        Unless ``looks`` is false it is seen first whether the machine's files are there.
        """

        async def run(task: TaskRun) -> Any:
            questions.refuse_while_pending(self)
            async with self.lock:
                if self.moid not in self.kernel.registry:
                    raise vmodl.fault.ManagedObjectNotFound(obj=self.ref)
                connection_state.require_reachable(self)
                if looks:
                    await connection_state.look_at_files(self)
                return await work(task)

        return self.kernel.start_task(self, f"VirtualMachine.{method}", run, cancelable=cancelable)

    def Rename_Task(self, newName: str) -> Any:
        """Rename the machine in the inventory and its .vmx file; no file gets another name."""

        async def work(_: TaskRun) -> None:
            await reconfigure.rename(self, newName)

        return self.start_task("rename", work)

    def ReconfigVM_Task(self, spec: Any) -> Any:
        """Change configuration and devices, all or nothing; see `reconfigure`."""

        async def work(_: TaskRun) -> None:
            await reconfigure.reconfigure(self, spec)

        return self.start_task("reconfigure", work)

    def PowerOnVM_Task(self, host: Any = None) -> Any:
        """Start the guest, or resume it; see `power.power_on`."""
        return self.start_task("powerOn", lambda _: power.power_on(self, host))

    def PowerOffVM_Task(self) -> Any:
        """End the guest, or drop its suspended memory."""
        return self.start_task("powerOff", lambda _: power.power_off(self))

    def SuspendVM_Task(self) -> Any:
        """Write the guest's memory to a file and end it."""
        return self.start_task("suspend", lambda _: power.suspend(self))

    def ResetVM_Task(self) -> Any:
        """Restart the guest as its reset button would."""
        return self.start_task("reset", lambda _: power.reset(self))

    async def ShutdownGuest(self) -> None:
        """Ask the guest's tools to shut it down; see `tools.shut_down`."""
        connection_state.require_reachable(self)
        await tools.shut_down(self)

    async def RebootGuest(self) -> None:
        """Ask the guest's tools to reboot it; see `tools.reboot`."""
        connection_state.require_reachable(self)
        await tools.reboot(self)

    async def StandbyGuest(self) -> None:
        """Ask the guest's tools to sleep, and suspend it; see `tools.stand_by`."""
        connection_state.require_reachable(self)
        await tools.stand_by(self)

    def Destroy_Task(self) -> Any:
        """Remove the machine from the inventory and delete its files."""

        async def work(_: TaskRun) -> None:
            await destroy.destroy_unlocked(self)

        # What is known of its disks is needed to delete them.
        return self.start_task("destroy", work, looks=False)

    async def UnregisterVM(self) -> None:
        """Remove the machine from the inventory; its files stay.

        Raises:
            vim.fault.InvalidPowerState: it is on.
            vmodl.fault.HostNotConnected: its host is disconnected.
        """
        async with self.lock:
            self.host.require_connected()
            power.refuse_if_on(self)
            virtual_machine_place.forget(self)

    async def MarkAsTemplate(self) -> None:
        """Make the machine a template, out of its pool.

        Raises:
            vim.fault.InvalidPowerState: it is not off.
            vmodl.fault.NotSupported: it is a template, or the lab is a single host.
        """
        async with self.lock:
            connection_state.require_reachable(self)
            virtual_machine_place.mark_as_template(self)

    async def MarkAsVirtualMachine(self, pool: Any, host: Any = None) -> None:
        """Make the template a virtual machine again, in a pool.

        Raises:
            vmodl.fault.NotSupported: it is no template.
            vmodl.fault.InvalidArgument: the host is not of the pool's compute resource.
        """
        async with self.lock:
            connection_state.require_reachable(self)
            virtual_machine_place.mark_as_virtual_machine(self, pool, host)

    def CloneVM_Task(self, folder: Any, name: str, spec: Any) -> Any:
        """Clone the machine or one of its snapshots; see `clone.clone`."""
        return self.start_task(
            "clone",
            lambda run: clone.clone(self, folder, name, spec, run),
            cancelable=True,
        )

    def AttachDisk_Task(
        self,
        diskId: Any,
        datastore: Any,
        controllerKey: int | None = None,
        unitNumber: int | None = None,
    ) -> Any:
        """Attach a first class disk; see `first_class_attach.attach`."""
        return self.start_task(
            "attachDisk",
            lambda _: first_class_attach.attach(self, diskId, datastore, controllerKey, unitNumber),
        )

    def DetachDisk_Task(self, diskId: Any) -> Any:
        """Detach a first class disk; see `first_class_attach.detach`."""
        return self.start_task("detachDisk", lambda _: first_class_attach.detach(self, diskId))

    def RelocateVM_Task(self, spec: Any, priority: Any = None) -> Any:
        """Move the machine, its guest running on; see `relocate.relocate`."""
        del priority  # one machine moves at a time
        return self.start_task(
            "relocate",
            lambda run: relocate.relocate(self, spec, run),
            cancelable=True,
        )

    def MigrateVM_Task(
        self, pool: Any = None, host: Any = None, priority: Any = None, state: Any = None
    ) -> Any:
        """Move the machine to another host; see `relocate.migrate`."""
        del priority
        return self.start_task(
            "migrate",
            lambda run: relocate.migrate(self, pool=pool, host=host, state=state, run=run),
            cancelable=True,
        )

    async def AcquireTicket(self, ticketType: str) -> Any:
        """Return a ticket for the console; see `console_tickets.acquire`."""
        return await console_tickets.acquire(self, ticketType)

    async def AcquireMksTicket(self) -> Any:
        """Return a ticket for the console; see `console_tickets.acquire_mks`."""
        return await console_tickets.acquire_mks(self)

    def CreateScreenshot_Task(self) -> Any:
        """Write the guest's screen to a PNG file beside the .vmx file; the result is its path."""
        return self.start_task("createScreenshot", lambda _: screenshot.create(self))

    async def RefreshStorageInfo(self) -> None:
        """Look at the machine's files again."""
        connection_state.require_reachable(self)
        await self.look_again()
        await properties.refresh_files(self)

    async def Reload(self) -> None:
        """Read the machine's files again, unless it is on.

        Raises:
            vim.fault.NotFound, vim.fault.VmConfigFault: they are gone, or cannot be used.
        """
        async with self.lock:
            connection_state.require_reachable(self)
            if self.power_state == "poweredOff":
                await connection_state.read_again(self)

    async def look_again(self) -> None:
        """Follow what happened to its host or its datastore; see `connection_state.look_again`."""
        await connection_state.look_again(self)

    def AnswerVM(self, questionId: str, answerChoice: str) -> None:
        """Answer the question in ``runtime.question``; see `questions.answer`."""
        connection_state.require_reachable(self)
        questions.answer(self, questionId, answerChoice)

    def ExportVm(self) -> Any:
        """Return a lease to fetch the machine's disks; see `export_vm`."""
        connection_state.require_reachable(self)
        return export_vm(self.kernel, self)

    def QueryConnections(self) -> list[Any]:
        """Return no connections: the lab counts none."""
        return []
