"""Plain VNC as ESXi had it up to version 6: ``RemoteDisplay.vnc.*`` in a machine's extraConfig.

The lab serves it on 127.0.0.1, whatever host the machine is on. Others than the lab's user can
connect there, so without a password it is not served at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from pyVmomi import vim

from vmops.numbers import PORT_MAX, whole_number

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo

    from vmops.lab.machine.machine import Machine

_PREFIX = "remotedisplay.vnc."


class RemoteDisplay(NamedTuple):
    """Where a machine's console is served, and to whom."""

    port: int
    password: str


def wanted(config: ConfigInfo) -> RemoteDisplay | None:
    """Read what a configuration says; None if it serves no VNC.

    Raises:
        vim.fault.GenericVmConfigFault: the port is none.
    """
    options = {
        option.key.lower().removeprefix(_PREFIX): str(option.value)
        for option in config.extraConfig
        if option.key.lower().startswith(_PREFIX)
    }
    if options.get("enabled", "").lower() != "true":
        return None
    text = options.get("port", "5900")
    if not (port := whole_number(text, PORT_MAX)):
        raise _refused(f"RemoteDisplay.vnc.port is not a TCP port: '{text[:10]}'.")
    password = options.get("password", "")
    return RemoteDisplay(port, password) if password else None


def _refused(text: str) -> vim.fault.GenericVmConfigFault:
    return vim.fault.GenericVmConfigFault(reason=text, msg=text)


def check(vm: Machine, config: ConfigInfo) -> RemoteDisplay | None:
    """Return what a configuration says, if no other machine that runs has the port.

    Raises:
        vim.fault.GenericVmConfigFault: the port is taken, or as `wanted`.
    """
    display = wanted(config)
    for other in vm.kernel.registry.of_wire_type(vim.VirtualMachine) if display else ():
        runs: Any = other
        if other is vm or not (runs.power_state == "poweredOn" or runs.starting):
            continue
        if display is not None and _port_of(runs.config) == display.port:
            raise _refused(f"The VNC port {display.port} is that of '{runs.name}'.")
    return display


def _port_of(config: ConfigInfo) -> int | None:
    try:
        display = wanted(config)
    except vim.fault.VmConfigFault:
        return None
    return None if display is None else display.port


async def serve(vm: Machine, display: RemoteDisplay | None) -> None:
    """Serve the console of a guest that was just started.

    Raises:
        HypervisorError: the port is taken by another program.
    """
    if display is not None:
        await vm.kernel.hypervisor.serve_vnc(vm.moid, display.port, display.password)


async def change(vm: Machine, config: ConfigInfo) -> Callable[[], Awaitable[object]] | None:
    """Follow a running machine's changed configuration; return what takes it back.

    Raises:
        vim.fault.GenericVmConfigFault: as `check`.
        HypervisorError: the port is taken by another program; the console is as before.
    """
    try:
        before = wanted(vm.config)
    except vim.fault.VmConfigFault:
        before = None
    now = check(vm, config) if _settings(config) != _settings(vm.config) else before
    if now == before:
        return None
    hypervisor, key = vm.kernel.hypervisor, vm.moid

    async def take_back() -> None:
        if before is None:
            await hypervisor.stop_vnc(key)
        else:
            await hypervisor.serve_vnc(key, before.port, before.password)

    if now is None:
        await hypervisor.stop_vnc(key)
        return take_back
    try:
        await hypervisor.serve_vnc(key, now.port, now.password)
    except BaseException:
        await take_back()
        raise
    return take_back


def _settings(config: ConfigInfo) -> dict[str, str]:
    return {
        option.key.lower(): str(option.value)
        for option in config.extraConfig
        if option.key.lower().startswith(_PREFIX)
    }
