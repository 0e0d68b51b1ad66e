"""A host: what it has, which virtual machines are on it, and its maintenance mode."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from vmops.lab.inventory import host_hardware
from vmops.lab.inventory.host_network_system import HostNetworkSystem
from vmops.lab.inventory.host_storage_system import HostStorageSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.objects import host_service

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.managed_object import ManagedObject
    from vmops.lab.kernel.task import TaskRun


class HostSystem(ManagedEntity):
    """A host; all hosts of a lab are the same machine."""

    wire_type = vim.HostSystem

    def __init__(  # noqa: PLR0913 - a host is all of these
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Any,
        uuid: str,
        browser: Any,
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

    def _summary(self) -> Any:
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
        maintenanceSpec: Any = None,
    ) -> Any:
        """Leave service; see `host_service.enter_maintenance`."""
        del maintenanceSpec

        async def run(task: TaskRun) -> None:
            await host_service.enter_maintenance(
                self, timeout, evacuates_all=bool(evacuatePoweredOffVms), run=task
            )

        return self.kernel.start_task(self, "HostSystem.enterMaintenanceMode", run)

    def ExitMaintenanceMode_Task(self, timeout: int = 0) -> Any:
        """Come back into service; see `host_service.exit_maintenance`."""
        del timeout

        async def run(_: TaskRun) -> None:
            await host_service.exit_maintenance(self)

        return self.kernel.start_task(self, "HostSystem.exitMaintenanceMode", run)

    def DisconnectHost_Task(self) -> Any:
        """Lose the host from sight; see `host_service.set_connected`."""

        async def run(_: TaskRun) -> None:
            await host_service.set_connected(self, connected=False)

        return self.kernel.start_task(self, "HostSystem.disconnect", run)

    def ReconnectHost_Task(self, cnxSpec: Any = None, reconnectSpec: Any = None) -> Any:
        """Find the host again; the lab knows it without being told where it is."""
        del cnxSpec, reconnectSpec

        async def run(_: TaskRun) -> None:
            await host_service.set_connected(self, connected=True)

        return self.kernel.start_task(self, "HostSystem.reconnect", run)

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
