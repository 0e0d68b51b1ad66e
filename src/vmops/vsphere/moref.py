"""Managed object references. Outside this package they are opaque."""

from __future__ import annotations

from typing import Any, TypeAlias

Moref: TypeAlias = Any


def moid(moref: Moref) -> str:
    """The server's name of the object: "vm-12"."""
    return str(moref._GetMoId())


def describe(moref: Moref) -> str:
    """Type and name of the object: "VirtualMachine:vm-12"."""
    return f"{type(moref)._wsdlName}:{moid(moref)}"
