"""Data objects of the API as plain data that people and programs can read; secrets are masked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from pyVmomi import VmomiSupport, vim

from vmops.vsphere.wire.moref import describe

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"

MASK = "***"
FIRST_PLANNED_KEY = 100_000
"""Devices that are only planned have keys from here on, until the server gives them theirs."""
_KEYS = frozenset({"key", "deviceKey", "controllerKey", "diskId"})
_SECRET = re.compile(
    r"password|passwd|secret|token|ticket|credential|private|vnc\.key|userdata", re.IGNORECASE
)


def plain_arguments(info: MethodInfo, arguments: dict[str, object]) -> dict[str, Plain]:
    """A call's arguments in the order of the wire; ``info`` is pyVmomi's description of it."""
    found = {}
    for param in info.params:
        value = arguments.get(param.name)
        if not _is_unset(value):
            found[param.name] = _named(param.name, value, param.type)
    return found


def plain(value: object, declared: object = None) -> Plain:
    """One value: references as "VirtualMachine:vm-12", data objects as the fields that are set.

    A data object of another type than the ``declared`` one says which under "type".
    """
    match value:
        case VmomiSupport.DataObject():
            shown: Plain = _data_object(value, declared)
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


def _data_object(value: VmomiSupport.DataObject, declared: object) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    if declared is not None and type(value) is not declared:
        found["type"] = type(value)._wsdlName
    for each in value._GetPropertyList():
        item = getattr(value, each.name)
        if not _is_unset(item):
            found[each.name] = _named(each.name, item, each.type)
    return found


def _list(value: Sequence[object], declared: object) -> Plain:
    options = [item for item in value if isinstance(item, vim.option.OptionValue)]
    if options and len(options) == len(value):
        return {str(item.key): _named(str(item.key), item.value, None) for item in options}
    element = getattr(declared, "Item", None)
    return [plain(item, element) for item in value]


def _named(name: str, value: object, declared: object) -> Plain:
    """A value under its name, which may tell that it is nothing to be shown."""
    if _SECRET.search(name) and isinstance(value, str | bytes) and value:
        return MASK
    if name in _KEYS and isinstance(value, int) and value > FIRST_PLANNED_KEY:
        return f"planned-device-{value - FIRST_PLANNED_KEY}"
    return plain(value, declared)


def _is_unset(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and not value)
