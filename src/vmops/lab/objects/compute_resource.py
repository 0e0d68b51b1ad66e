"""A compute resource: a cluster of hosts, or a single host."""

from __future__ import annotations

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.objects.resource_pool import ResourcePool


class ComputeResource(ManagedEntity):
    """A single host with its root resource pool."""

    wire_type = vim.ComputeResource

    def __init__(
        self, kernel: Kernel, moid: str, *, name: str, parent: Reference, browser: Reference
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent)
        self.properties.update(
            host=[],
            datastore=[],
            network=[],
            environmentBrowser=browser,
            configurationEx=self._configuration(),
        )
        self.computed["summary"] = self._summary

    @property
    def root_pool(self) -> ResourcePool:
        """The pool of all its resources."""
        return self.kernel.registry.find(self.properties["resourcePool"], ResourcePool)

    def hosts(self) -> list[HostSystem]:
        """List the hosts."""
        return [self.kernel.registry.find(ref, HostSystem) for ref in self.properties["host"]]

    def children(self) -> list[ManagedEntity]:
        """List the hosts and the root pool, both of which inventory paths can name."""
        return [*self.hosts(), self.root_pool]

    def _configuration(self) -> vim.ComputeResource.ConfigInfo:
        return vim.ComputeResource.ConfigInfo(vmSwapPlacement="vmDirectory")

    def _summary(self) -> vim.ComputeResource.Summary:
        return vim.ComputeResource.Summary(**self._figures())

    def _figures(self) -> dict[str, object]:
        hosts = self.hosts()
        effective = [host for host in hosts if not host.in_maintenance]
        cpu = {host.moid: host.properties["hardware"].cpuInfo for host in hosts}
        mhz = {moid: info.hz // 1_000_000 * info.numCpuCores for moid, info in cpu.items()}
        memory = {host.moid: host.properties["hardware"].memorySize for host in hosts}
        return {
            "totalCpu": sum(mhz.values()),
            "totalMemory": sum(memory.values()),
            "numCpuCores": sum(info.numCpuCores for info in cpu.values()),
            "numCpuThreads": sum(info.numCpuThreads for info in cpu.values()),
            "effectiveCpu": sum(mhz[host.moid] for host in effective),
            "effectiveMemory": sum(memory[host.moid] for host in effective) // 1024 // 1024,
            "numHosts": len(hosts),
            "numEffectiveHosts": len(effective),
            "overallStatus": vim.ManagedEntity.Status.green,
        }


class ClusterComputeResource(ComputeResource):
    """A cluster, without HA; its DRS is off until a client turns it on."""

    wire_type = vim.ClusterComputeResource

    def __init__(
        self, kernel: Kernel, moid: str, *, name: str, parent: Reference, browser: Reference
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent, browser=browser)
        self.properties["configuration"] = vim.cluster.ConfigInfo(
            dasConfig=vim.cluster.DasConfigInfo(enabled=False),
            drsConfig=vim.cluster.DrsConfigInfo(enabled=False),
        )
        self.computed["summaryEx"] = self._summary

    def ReconfigureComputeResource_Task(
        self, spec: vim.ComputeResource.ConfigSpec, modify: bool
    ) -> vim.Task:
        """Turn DRS on or off: it empties hosts that enter maintenance mode, and does no more.

        Raises:
            vmodl.fault.NotSupported: something else of the cluster is to change.
        """
        drs = getattr(spec, "drsConfig", None)
        others = [
            each.name
            for each in type(spec)._GetPropertyList()
            if each.name != "drsConfig" and getattr(spec, each.name) not in (None, [])
        ]
        if drs is None or others or not modify:
            raise vmodl.fault.NotSupported(msg="Of a cluster only drsConfig changes.")

        async def run(_: TaskRun) -> None:
            config = vim.cluster.DrsConfigInfo(
                enabled=bool(drs.enabled), defaultVmBehavior=drs.defaultVmBehavior
            )
            self.kernel.update(
                self, {"configurationEx.drsConfig": config, "configuration.drsConfig": config}
            )

        return start_task(self, "ComputeResource.reconfigureEx", run)

    def _configuration(self) -> vim.cluster.ConfigInfoEx:
        return vim.cluster.ConfigInfoEx(
            vmSwapPlacement="vmDirectory",
            dasConfig=vim.cluster.DasConfigInfo(enabled=False),
            drsConfig=vim.cluster.DrsConfigInfo(enabled=False),
        )

    def _summary(self) -> vim.ClusterComputeResource.Summary:
        return vim.ClusterComputeResource.Summary(
            **self._figures(), currentFailoverLevel=0, numVmotions=0
        )
