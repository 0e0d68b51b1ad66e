"""The data objects a property collector answers with, built from live properties."""

from __future__ import annotations

from typing import TypeVar

from pyVmomi import vmodl
from pyVmomi.VmomiSupport import DataObject, GetVmodlType

from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.kernel.property_path import PropertyPath, evaluate

T = TypeVar("T", bound=DataObject)

_PC = vmodl.query.PropertyCollector
_ObjectContent = _PC.ObjectContent
_DynamicProperty = vmodl.DynamicProperty
_Change = _PC.Change
_MethodFault = GetVmodlType("vmodl.MethodFault")


def built(cls: type[T], **fields: object) -> T:
    """A data object of known-good fields, without pyVmomi's check of each.

    The checks cost ten times the rest of a bulk read. Fields not given are absent, so this is
    for objects that only the encoder sees.
    """
    made = cls.__new__(cls)
    made.__dict__.update(fields)
    return made


def object_content(obj: ManagedObject, paths: tuple[PropertyPath, ...]) -> _PC.ObjectContent:
    """An ObjectContent with those of the paths that are set.

    A property that cannot be worked out goes to its ``missingSet`` with the fault.
    """
    found: list[vmodl.DynamicProperty] = []
    missing: list[_PC.MissingProperty] = []
    for path in paths:
        try:
            value, declared = evaluate(obj, path)
        except _MethodFault as fault:
            if isinstance(fault, vmodl.query.InvalidProperty):
                raise
            missing.append(built(_PC.MissingProperty, path=path.text, fault=fault))
            continue
        if value is not None:
            found.append(built(_DynamicProperty, name=path.text, val=typed(value, declared)))
    return built(_ObjectContent, obj=obj.ref, propSet=found, missingSet=missing)


def change(
    path: PropertyPath, value: object, declared: type | None, *, parent_gone: bool = False
) -> _PC.Change:
    """A PropertyChange; a None value says that the property is now unset."""
    if value is None:
        op = _Change.Op.indirectRemove if parent_gone else _Change.Op.assign
        return built(_Change, name=path.text, op=op)
    op = _Change.Op.assign
    return built(_Change, name=path.text, op=op, val=typed(value, declared))


def typed(value: object, declared: type | None) -> object:
    """The value with the class its property declares, as places without a declaration need it.

    A plain list, a plain int where xsd:long is meant or a plain string where an enumeration is
    meant would otherwise lose their type inside an xsd:anyType.
    """
    cls = value.__class__
    if declared is None or cls is declared or cls is bool or declared is object:
        return value
    if isinstance(value, list) and cls is list:
        return declared(value) if issubclass(declared, list) else value
    if isinstance(value, int | float | str) and issubclass(declared, int | float | str):
        return value if isinstance(value, declared) else declared(value)
    return value
