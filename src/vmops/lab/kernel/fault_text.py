"""What a fault says to people."""

from __future__ import annotations

from pyVmomi import vmodl


def message(fault: vmodl.MethodFault) -> str:
    """The text beside a fault, which pyVmomi keeps in no field of its stubs; "" without one."""
    return str(getattr(fault, "msg", None) or "")
