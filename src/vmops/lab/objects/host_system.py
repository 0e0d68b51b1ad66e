"""A host: what it has, which virtual machines are on it, and its maintenance mode."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from vmops.lab.objects import host_hardware
from vmops.lab.objects.argument_faults import invalid_state
from vmops.lab.objects.host_network_system import HostNetworkSystem
from vmops.lab.objects.managed_entity import ManagedEntity

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.managed_object import ManagedObject
    from vmops.lab.kernel.task import TaskRun

_POLL_S = 0.2


class HostSystem(ManagedEntity):
    """A host that is always connected; all hosts of a lab are the same machine."""

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
        self.network_system = HostNetworkSystem(kernel, network_system_moid, host=self)
        manager = vim.host.ConfigManager(networkSystem=self.network_system.ref)
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
        """Whether the host takes no running virtual machines."""
        return bool(self.properties["runtime"].inMaintenanceMode)

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
        """Wait until no virtual machine runs on the host, then enter maintenance mode.

        Raises (in the task):
            vim.fault.InvalidState: it is in maintenance mode.
            vim.fault.Timedout: ``timeout`` seconds (0: no limit) went by.
        """
        del evacuatePoweredOffVms, maintenanceSpec  # nothing moves in a lab of one machine

        async def run(task: TaskRun) -> None:
            if self.in_maintenance:
                raise invalid_state("The host is already in maintenance mode.")
            waited = 0.0
            while self.running():
                task.check_cancelled()
                if timeout and waited >= timeout:
                    raise vim.fault.Timedout(msg="Virtual machines still run on the host.")
                await asyncio.sleep(_POLL_S)
                waited += _POLL_S
            self.kernel.update(self, {"runtime.inMaintenanceMode": True})
            self.kernel.touch(self, "summary")

        return self.kernel.start_task(self, "HostSystem.enterMaintenanceMode", run)

    def ExitMaintenanceMode_Task(self, timeout: int = 0) -> Any:
        """Leave maintenance mode.

        Raises (in the task):
            vim.fault.InvalidState: it is not in maintenance mode.
        """
        del timeout

        async def run(_: TaskRun) -> None:
            if not self.in_maintenance:
                raise invalid_state("The host is not in maintenance mode.")
            self.kernel.update(self, {"runtime.inMaintenanceMode": False})
            self.kernel.touch(self, "summary")

        return self.kernel.start_task(self, "HostSystem.exitMaintenanceMode", run)

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
