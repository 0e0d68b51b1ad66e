"""Data objects of the API as plain data that people and programs can read; secrets are masked."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from pyVmomi import VmomiSupport, vim

from vmops.vsphere.wire.moref import describe

MASK = "***"
FIRST_PLANNED_KEY = 100_000
"""Devices that are only planned have keys from here on, until the server gives them theirs."""
_KEYS = frozenset({"key", "deviceKey", "controllerKey", "diskId"})
_SECRET = re.compile(
    r"password|passwd|secret|token|ticket|credential|private|vnc\.key|userdata", re.IGNORECASE
)


def plain_arguments(info: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments in the order of the wire; ``info`` is pyVmomi's description of it."""
    found = {}
    for param in info.params:
        value = arguments.get(param.name)
        if not _is_unset(value):
            found[param.name] = _named(param.name, value, param.type)
    return found


def plain(value: Any, declared: Any = None) -> Any:
    """One value: references as "VirtualMachine:vm-12", data objects as the fields that are set.

    A data object of another type than the ``declared`` one says which under "type".
    """
    match value:
        case VmomiSupport.DataObject():
            shown: Any = _data_object(value, declared)
        case list() | tuple():
            shown = _list(value, declared)
        case VmomiSupport.ManagedObject():
            shown = describe(value)
        case bool() | None:
            shown = value
        case int():
            shown = int(value)
        case float():
            shown = float(value)
        case datetime():
            shown = value.isoformat()
        case bytes():
            shown = f"{len(value)} bytes"
        case _:
            shown = str(value)
    return shown


def _data_object(value: Any, declared: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if declared is not None and type(value) is not declared:
        found["type"] = type(value)._wsdlName
    for each in value._GetPropertyList():
        item = getattr(value, each.name)
        if not _is_unset(item):
            found[each.name] = _named(each.name, item, each.type)
    return found


def _list(value: Any, declared: Any) -> Any:
    if value and all(isinstance(item, vim.option.OptionValue) for item in value):
        return {str(item.key): _named(str(item.key), item.value, None) for item in value}
    element = getattr(declared, "Item", None)
    return [plain(item, element) for item in value]


def _named(name: str, value: Any, declared: Any) -> Any:
    """A value under its name, which may tell that it is nothing to be shown."""
    if _SECRET.search(name) and isinstance(value, str | bytes) and value:
        return MASK
    if name in _KEYS and isinstance(value, int) and value > FIRST_PLANNED_KEY:
        return f"planned-device-{value - FIRST_PLANNED_KEY}"
    return plain(value, declared)


def _is_unset(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and not value)
