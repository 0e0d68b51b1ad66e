"""A host: what it has, which virtual machines are on it, and its maintenance mode."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory import host_hardware
from vmops.lab.inventory.argument_faults import invalid_state
from vmops.lab.inventory.event_log import EventLog
from vmops.lab.inventory.host_network_system import HostNetworkSystem
from vmops.lab.inventory.host_storage_system import HostStorageSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.task import TaskRun, start_task

_POLL_S = 0.05
_State = vim.TaskInfo.State


class HostSystem(ManagedEntity):
    """A host; all hosts of a lab are the same machine."""

    wire_type = vim.HostSystem

    def __init__(  # noqa: PLR0913 - a host is all of these
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Reference,
        uuid: str,
        browser: Reference,
        network_system_moid: str,
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent)
        self.uuid = uuid
        self.is_entering = False
        """Whether the host is on its way into maintenance mode."""
        self.network_system = HostNetworkSystem(kernel, network_system_moid, host=self)
        self.storage_system = HostStorageSystem(kernel, f"storageSystem-{moid}")
        manager = vim.host.ConfigManager(
            networkSystem=self.network_system.ref, storageSystem=self.storage_system.ref
        )
        self.properties.update(
            runtime=vim.host.RuntimeInfo(
                connectionState="connected",
                powerState="poweredOn",
                standbyMode="none",
                inMaintenanceMode=False,
                bootTime=datetime.now(UTC),
            ),
            hardware=host_hardware.hardware(uuid),
            capability=host_hardware.capability(),
            licensableResource=vim.LicenseManager.LicensableResourceInfo(
                resource=[vmodl.KeyAnyValue(key="numCpuPackages", value=1)]
            ),
            configManager=manager,
            config=vim.host.ConfigInfo(
                host=self.ref,
                product=host_hardware.product(),
                network=self.network_system.properties["networkInfo"],
                datastorePrincipal="root",
            ),
            vm=[],
            datastore=[],
            network=[],
            datastoreBrowser=browser,
        )
        self.computed["summary"] = self._summary

    @property
    def in_maintenance(self) -> bool:
        """Whether the host takes no running virtual machines: it is in maintenance, or about to."""
        return self.is_entering or bool(self.properties["runtime"].inMaintenanceMode)

    @property
    def is_in_service(self) -> bool:
        """Whether virtual machines can come here."""
        return self.is_connected and not self.in_maintenance

    def require_no_maintenance(self) -> None:
        """Raise vim.fault.InvalidState if the host takes no running virtual machines."""
        if self.in_maintenance:
            raise invalid_state("The host is in maintenance mode.")

    def require_connected(self) -> None:
        """Raise vmodl.fault.HostNotConnected if what is asked of the host cannot reach it."""
        if not self.is_connected:
            raise vmodl.fault.HostNotConnected(
                msg=f"Unable to communicate with the host '{self.name}', since it is disconnected."
            )

    def require_in_service(self) -> None:
        """Raise vim.fault.InvalidHostState unless virtual machines can come here.

        Its child vim.fault.InvalidHostConnectionState says that the host is disconnected.
        """
        if not self.is_connected:
            raise vim.fault.InvalidHostConnectionState(
                host=self.ref, msg=f"The host '{self.name}' is disconnected."
            )
        if self.in_maintenance:
            raise vim.fault.InvalidHostState(
                host=self.ref, msg=f"The host '{self.name}' is in maintenance mode."
            )

    @property
    def is_connected(self) -> bool:
        """Whether the host answers its vCenter."""
        return str(self.properties["runtime"].connectionState) == "connected"

    def running(self) -> list[ManagedObject]:
        """List the virtual machines that are on."""
        registered = [self.kernel.registry.get(ref) for ref in self.properties["vm"]]
        return [vm for vm in registered if vm.properties["runtime"].powerState == "poweredOn"]

    def _summary(self) -> vim.host.Summary:
        runtime = self.properties["runtime"]
        configs = [vm.properties["config"] for vm in self.running()]
        return vim.host.Summary(
            host=self.ref,
            hardware=host_hardware.hardware_summary(self.uuid),
            runtime=runtime,
            config=vim.host.Summary.ConfigSummary(
                name=self.name,
                port=443,
                product=host_hardware.product(),
                vmotionEnabled=False,
                faultToleranceEnabled=False,
            ),
            quickStats=vim.host.Summary.QuickStats(
                overallCpuUsage=0,
                overallMemoryUsage=sum(config.hardware.memoryMB for config in configs),
                uptime=int((datetime.now(UTC) - runtime.bootTime).total_seconds()),
            ),
            overallStatus=vim.ManagedEntity.Status.green,
            rebootRequired=False,
        )

    def rename(self, name: str) -> None:
        """Refuse: a host is called by its address."""
        raise vmodl.fault.NotSupported(msg=f"The host '{self.name}' cannot become '{name}'.")

    def EnterMaintenanceMode_Task(
        self,
        timeout: int = 0,
        evacuatePoweredOffVms: bool | None = None,
        maintenanceSpec: object = None,
    ) -> vim.Task:
        """Take the host out of service in a task."""
        del maintenanceSpec
        return start_task(
            self,
            "HostSystem.enterMaintenanceMode",
            lambda task: _enter_maintenance(
                self, timeout, evacuates_all=bool(evacuatePoweredOffVms), run=task
            ),
        )

    def ExitMaintenanceMode_Task(self, timeout: int = 0) -> vim.Task:
        """Come back into service."""
        del timeout
        return start_task(self, "HostSystem.exitMaintenanceMode", lambda _: _exit_maintenance(self))

    def DisconnectHost_Task(self) -> vim.Task:
        """Lose the host from sight."""
        return start_task(
            self, "HostSystem.disconnect", lambda _: _set_connected(self, connected=False)
        )

    def ReconnectHost_Task(self, cnxSpec: object = None, reconnectSpec: object = None) -> vim.Task:
        """Find the host again; the lab knows it without being told where it is."""
        del cnxSpec, reconnectSpec
        return start_task(
            self, "HostSystem.reconnect", lambda _: _set_connected(self, connected=True)
        )

    def RetrieveHardwareUptime(self) -> int:
        """Return the seconds since the host started."""
        boot = self.properties["runtime"].bootTime
        return int((datetime.now(UTC) - boot).total_seconds())

    def QueryMemoryOverhead(
        self, memorySize: int, numVcpus: int, videoRamSize: int | None = None
    ) -> int:
        """Return 0 bytes: the lab reserves none."""
        del memorySize, numVcpus, videoRamSize
        return 0


async def _enter_maintenance(
    host: HostSystem, timeout_s: int, *, evacuates_all: bool, run: TaskRun
) -> None:
    """Wait until no virtual machine runs on the host, then enter maintenance mode.

    From the start nothing can be powered on there. In a cluster whose DRS is fully automated the
    machines are moved to its other hosts, with ``evacuates_all`` those that are off too.

    Raises:
        vim.fault.InvalidState: it is in maintenance mode, or on its way there.
        vim.fault.Timedout: ``timeout_s`` seconds (0: no limit) went by.
        vim.fault.NoCompatibleHost, and what migration raises: DRS found no place for a machine.
    """
    host.require_connected()
    if host.in_maintenance:
        raise invalid_state("The host is already in maintenance mode.")
    host.is_entering = True
    try:
        if _has_drs(host):
            await _evacuate(host, evacuates_all=evacuates_all)
        waited = 0.0
        while host.running():
            run.check_cancelled()
            if timeout_s and waited >= timeout_s:
                raise vim.fault.Timedout(msg="Virtual machines still run on the host.")
            await asyncio.sleep(_POLL_S)
            waited += _POLL_S
        _show(host, {"runtime.inMaintenanceMode": True})
    finally:
        host.is_entering = False
    event = vim.event.EnteredMaintenanceModeEvent()
    host.kernel.service(EventLog).post(event, host, f"{host.name} has entered maintenance mode")


def _has_drs(host: HostSystem) -> bool:
    compute = host.parent
    if compute is None or compute.wire_type is not vim.ClusterComputeResource:
        return False
    drs = compute.properties["configurationEx"].drsConfig
    return bool(drs.enabled) and str(drs.defaultVmBehavior or "fullyAutomated") == "fullyAutomated"


async def _evacuate(host: HostSystem, *, evacuates_all: bool) -> None:
    registry = host.kernel.registry
    for vm in registry.present(host.properties["vm"], ManagedEntity):
        if vm.properties["runtime"].powerState != "poweredOn" and not evacuates_all:
            continue
        others = [each for each in registry.all(HostSystem) if each.parent is host.parent]
        fit = [each for each in others if each is not host and each.is_in_service]
        if not fit:
            raise vim.fault.NoCompatibleHost(msg=f"DRS has no host for '{vm.name}'.")
        target = min(fit, key=lambda each: len(each.properties["vm"]))
        task = registry.get(vm.start_migration(target.ref))
        while task.properties["info"].state not in (_State.success, _State.error):
            await asyncio.sleep(_POLL_S)
        if task.properties["info"].state == _State.error and vm.moid in registry:
            raise task.properties["info"].error


async def _exit_maintenance(host: HostSystem) -> None:
    """Leave maintenance mode.

    Raises:
        vim.fault.InvalidState: it is not in maintenance mode.
    """
    host.require_connected()
    if not host.properties["runtime"].inMaintenanceMode:
        raise invalid_state("The host is not in maintenance mode.")
    _show(host, {"runtime.inMaintenanceMode": False})
    event = vim.event.ExitMaintenanceModeEvent()
    host.kernel.service(EventLog).post(event, host, f"{host.name} has exited maintenance mode")


async def _set_connected(host: HostSystem, *, connected: bool) -> None:
    """Let the vCenter lose the host, or find it again; its guests run on.

    Raises:
        vmodl.fault.NotSupported: there is no vCenter.
        vim.fault.InvalidState: it is so already.
    """
    if host.kernel.settings.esx:
        raise vmodl.fault.NotSupported(msg="A single host is connected to no vCenter.")
    if host.is_connected == connected:
        raise invalid_state("The host is already " + ("connected." if connected else "not."))
    state = "connected" if connected else "disconnected"
    power = "poweredOn" if connected else "unknown"
    _show(host, {"runtime.connectionState": state, "runtime.powerState": power})
    for vm in host.kernel.registry.present(host.properties["vm"], ManagedEntity):
        await vm.look_again()
    kind = vim.event.HostConnectedEvent if connected else vim.event.HostDisconnectedEvent
    event = kind() if connected else kind(reason="userRequest")
    text = "Connected to" if connected else "Disconnected from"
    host.kernel.service(EventLog).post(event, host, f"{text} {host.name}")


def _show(host: HostSystem, changes: dict[str, object]) -> None:
    host.kernel.update(host, changes)
    host.kernel.touch(host, "summary")
    if host.parent is not None:
        host.kernel.touch(host.parent, "summary", "summaryEx")
