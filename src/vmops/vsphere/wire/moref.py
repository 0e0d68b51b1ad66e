"""Managed object references. Outside this package they are opaque."""

from __future__ import annotations

from typing import TypeAlias

from pyVmomi import VmomiSupport

Moref: TypeAlias = VmomiSupport.ManagedObject


def moid(moref: Moref) -> str:
    """The server's name of the object: "vm-12"."""
    return str(moref._GetMoId())


def describe(moref: Moref) -> str:
    """Type and name of the object: "VirtualMachine:vm-12"."""
    return f"{type(moref)._wsdlName}:{moid(moref)}"


def wire_type(name: str) -> type[Moref]:
    """The type of this name on the wire: "VirtualMachine"."""
    return VmomiSupport.GetWsdlType("urn:vim25", name)


def reference(kind: str, name: str) -> Moref:
    """The reference to an object whose type and moid are known."""
    return wire_type(kind)(name)
