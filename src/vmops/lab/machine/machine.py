"""A virtual machine as those know it who work on it: its state, its lock, its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_state
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.task import start_task
from vmops.lab.machine.disk_datastores import name_datastores
from vmops.lab.machine.snapshot_tree import SnapshotTree
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.vmx_text import Entries

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel, ManagedObject
    from vmops.lab.kernel.task import TaskRun
    from vmops.lab.machine.files import VmFile
    from vmops.lab.machine.question import PendingQuestion
    from vmops.lab.storage.paths import DatastorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a virtual machine stands in the inventory: references, the pool None for templates."""

    folder: Reference
    host: Reference
    pool: Reference | None
    browser: Reference | None


@dataclass(slots=True)
class ToolsMemory:
    """What is remembered of a machine's tools."""

    version: str | None = None
    """Of the tools last heard of, also while the machine is off."""
    values: dict[str, str | None] = field(default_factory=dict)
    """Names of extra configuration the guest has set, to what they were before."""


class Machine(ManagedEntity):
    """A virtual machine; ``config`` is None when its files cannot be read.

    Operations that change it wait for each other (``lock``). `VirtualMachine` adds the API.
    """

    wire_type = vim.VirtualMachine

    snapshots = SnapshotTree()
    """Its snapshots; changed by `show_tree` alone."""

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
        self.coming_devices: Sequence[VirtualDevice] = ()
        """Those that a running guest is being given right now, and so has."""
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
            runtime=_runtime(place.host, is_accessible=config is not None),
            resourcePool=place.pool,
            environmentBrowser=place.browser,
            datastore=[],
            network=[],
            rootSnapshot=[],
            guestHeartbeatStatus=vim.ManagedEntity.Status.gray,
        )

    @property
    def config(self) -> ConfigInfo:
        """The ConfigInfo.

        Raises:
            vim.fault.InvalidState: the machine's files cannot be read.
        """
        self.require_accessible()
        config: ConfigInfo = self.properties["config"]
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
    def devices(self) -> list[VirtualDevice]:
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
    def store(self) -> DiskStore:
        """The disks of the lab's datastores."""
        return self.kernel.service(DiskStore)

    @property
    def extra_config(self) -> Entries:
        """Its extra configuration, keys in any case; its own copy."""
        return Entries({option.key: str(option.value) for option in self.config.extraConfig})

    @property
    def host(self) -> HostSystem:
        """The host it is on."""
        return self.kernel.registry.find(self.properties["runtime"].host, HostSystem)

    def guest_address(self, name: str) -> str | None:
        """Return a field of the guest's information, which only its tools fill."""
        value = getattr(self.properties["guest"], name)
        return None if value is None else str(value)

    def publish(self, changes: Mapping[str, object]) -> None:
        """Change properties; the summary, which repeats many of them, counts as changed too."""
        name_datastores(self.kernel, changes)
        self.last_uuids = self.instance_uuid, self.bios_uuid
        self.kernel.update(self, changes)
        self.kernel.touch(self, "summary")

    def renamed(self, name: str) -> dict[str, object]:
        """Return the changes of a new name, which the configuration repeats."""
        changes: dict[str, object] = {"name": name}
        if self.is_accessible:
            changes["config.name"] = name
        return changes

    def require_accessible(self) -> None:
        """Raise vim.fault.InvalidState if the machine's files cannot be read."""
        if not self.is_accessible:
            raise invalid_state(f"The files of '{self.name}' are not accessible.")

    def require_reachable(self) -> None:
        """Refuse what needs the machine's host.

        Raises:
            vmodl.fault.HostNotConnected: the host is disconnected.
            vim.fault.InvalidState: the machine is orphaned.
        """
        self.host.require_connected()
        if self.is_orphaned:
            raise invalid_state(f"'{self.name}' is orphaned: its host does not know it.")

    def start_task(
        self,
        method: str,
        work: Callable[[TaskRun], Awaitable[object]],
        *,
        cancelable: bool = False,
        looks: bool = True,
    ) -> vim.Task:
        """Run a method's work in a task, after what this machine is doing now.

        Unless ``looks`` is false it is seen first whether the machine's files are there.
        """

        async def run(task: TaskRun) -> object:
            self._refuse_while_asking()
            async with self.lock:
                if self.moid not in self.kernel.registry:
                    raise vmodl.fault.ManagedObjectNotFound(obj=self.ref)
                self.require_reachable()
                if looks:
                    await self.look_at_files()
                return await work(task)

        return start_task(self, f"VirtualMachine.{method}", run, cancelable=cancelable)

    def _refuse_while_asking(self) -> None:
        """Raise vim.fault.QuestionPending if the machine waits for an answer."""
        if self.pending_question is not None:
            text = self.pending_question.question.text
            raise vim.fault.QuestionPending(
                text=text, msg=f"'{self.name}' waits for an answer: {text}"
            )

    async def look_at_files(self) -> None:
        """Find out whether its files, whose lock the caller has, are there or there again."""
        raise NotImplementedError

    def snapshot_object(self, uid: int) -> ManagedObject:
        """Build the managed object of a snapshot."""
        raise NotImplementedError


def _runtime(host: Reference, *, is_accessible: bool) -> vim.vm.RuntimeInfo:
    """Build the RuntimeInfo of a machine that is off."""
    return vim.vm.RuntimeInfo(
        host=host,
        connectionState="connected" if is_accessible else "inaccessible",
        powerState="poweredOff",
        faultToleranceState="notConfigured",
        toolsInstallerMounted=False,
        numMksConnections=0,
        recordReplayState="inactive",
        onlineStandby=False,
        consolidationNeeded=False,
        suspendInterval=0,
        maxCpuUsage=0,
        maxMemoryUsage=0,
        cleanPowerOff=True,
        suspendedToMemory=False,
    )
