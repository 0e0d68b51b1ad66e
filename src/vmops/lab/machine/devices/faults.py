"""Faults that name the entry of ``deviceChange`` they are about."""

from __future__ import annotations

from pyVmomi import vim


def invalid_device(index: int, field: str, why: str) -> vim.fault.InvalidDeviceSpec:
    """Build InvalidDeviceSpec; ``field`` is below the device: "unitNumber", "backing.fileName"."""
    return vim.fault.InvalidDeviceSpec(
        deviceIndex=index,
        property=f"virtualDeviceSpec.device.{field}",
        msg=f"Invalid configuration for device '{index}'. {why}",
    )


def invalid_backing(index: int, why: str) -> vim.fault.InvalidDeviceBacking:
    """Build the fault for a backing that does not exist or does not fit the device."""
    return vim.fault.InvalidDeviceBacking(
        deviceIndex=index,
        property="virtualDeviceSpec.device.backing",
        msg=f"Incompatible device backing specified for device '{index}'. {why}",
    )


def invalid_operation(
    index: int, change: vim.vm.device.VirtualDeviceSpec, why: str
) -> vim.fault.InvalidDeviceOperation:
    """Build the fault for an operation, or file operation, that the device does not allow."""
    return vim.fault.InvalidDeviceOperation(
        deviceIndex=index,
        badOp=change.operation,
        badFileOp=change.fileOperation,
        msg=f"Invalid operation for device '{index}'. {why}",
    )


def invalid_controller(index: int, key: int) -> vim.fault.InvalidController:
    """Build the fault for a controller that is not there or takes no such device."""
    return vim.fault.InvalidController(
        deviceIndex=index,
        controllerKey=key,
        property="virtualDeviceSpec.device.controllerKey",
        msg=f"Device '{index}' names a controller, key {key}, that cannot take it.",
    )


def no_hot_plug(index: int) -> vim.fault.DeviceHotPlugNotSupported:
    """Build the fault for a device that cannot change while the machine runs."""
    return vim.fault.DeviceHotPlugNotSupported(
        deviceIndex=index,
        property="virtualDeviceSpec.device",
        msg=f"Device '{index}' cannot be added, changed or removed while the machine is on.",
    )


def unsupported_device(
    device: vim.vm.device.VirtualDevice, why: str
) -> vim.fault.DeviceNotSupported:
    """Build the fault for a kind of device the lab's machines cannot have."""
    name = type(device).__name__.rpartition(".")[2]
    return vim.fault.DeviceNotSupported(device=name, reason=why, msg=f"{name}: {why}")
