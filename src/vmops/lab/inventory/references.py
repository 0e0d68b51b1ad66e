"""Lists of references that objects hold to each other (``host.vm``, ``folder.childEntity``)."""

from __future__ import annotations

from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.kernel import Kernel, ManagedObject


def link(kernel: Kernel, holder: ManagedObject, name: str, ref: Reference) -> None:
    """Add a reference to a list property, once."""
    held = holder.properties.get(name, [])
    if all(other._moId != ref._moId for other in held):
        kernel.update(holder, {name: [*held, ref]})


def unlink(kernel: Kernel, holder: ManagedObject, name: str, ref: Reference) -> None:
    """Take a reference out of a list property; no error if it is not there."""
    held = holder.properties.get(name, [])
    left = [other for other in held if other._moId != ref._moId]
    if len(left) != len(held):
        kernel.update(holder, {name: left})
