"""Data objects with every mandatory field filled.

The serialiser refuses an object whose mandatory field is unset, and some of vSphere's option
objects have fifty of them. Only what matters is then written out where the object is built.
"""

from __future__ import annotations

from typing import TypeVar

from pyVmomi import VmomiSupport

T = TypeVar("T", bound=VmomiSupport.DataObject)

_PLAIN: dict[str, object] = {
    "bool": False,
    "byte": 0,
    "short": 0,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "str": "",
}


def filled(wire_type: type[T], **values: object) -> T:
    """Build a data object; mandatory fields not given get False, 0, "" or an empty list.

    Mandatory enumerations, types and times have no neutral value and must be given.
    """
    for prop in wire_type._GetPropertyList():
        if prop.flags & VmomiSupport.F_OPTIONAL or prop.name in values:
            continue
        if issubclass(prop.type, list):
            values[prop.name] = prop.type()
        elif prop.type.__name__ in _PLAIN:
            values[prop.name] = _PLAIN[prop.type.__name__]
        elif issubclass(prop.type, VmomiSupport.DataObject):
            values[prop.name] = filled(prop.type)
    return wire_type(**values)
