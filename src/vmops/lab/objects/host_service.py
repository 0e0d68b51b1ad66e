"""A host that goes out of service and comes back: maintenance mode, and its connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_state
from vmops.lab.operations.machine_events import EventLog

if TYPE_CHECKING:
    from vmops.lab.inventory.host_system import HostSystem
    from vmops.lab.kernel.task import TaskRun

_POLL_S = 0.05
_State: Any = vim.TaskInfo.State


async def enter_maintenance(
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
    compute: Any = host.parent
    for ref in list(host.properties["vm"]):
        vm: Any = registry.get(ref)
        if vm.power_state != "poweredOn" and not evacuates_all:
            continue
        others: list[Any] = [registry.get(each) for each in compute.properties["host"]]
        fit = [each for each in others if each is not host and each.is_in_service]
        if not fit:
            raise vim.fault.NoCompatibleHost(msg=f"DRS has no host for '{vm.name}'.")
        target = min(fit, key=lambda each: len(each.properties["vm"]))
        task: Any = registry.get(vm.MigrateVM_Task(host=target.ref))
        while task.properties["info"].state not in (_State.success, _State.error):
            await asyncio.sleep(_POLL_S)
        if task.properties["info"].state == _State.error:
            raise task.properties["info"].error


async def exit_maintenance(host: HostSystem) -> None:
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


async def set_connected(host: HostSystem, *, connected: bool) -> None:
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
    for ref in list(host.properties["vm"]):
        vm: Any = host.kernel.registry.get(ref)
        await vm.look_again()
    kind = vim.event.HostConnectedEvent if connected else vim.event.HostDisconnectedEvent
    event = kind() if connected else kind(reason="userRequest")
    text = "Connected to" if connected else "Disconnected from"
    host.kernel.service(EventLog).post(event, host, f"{text} {host.name}")


def _show(host: HostSystem, changes: dict[str, Any]) -> None:
    host.kernel.update(host, changes)
    host.kernel.touch(host, "summary")
    if host.parent is not None:
        host.kernel.touch(host.parent, "summary", "summaryEx")
