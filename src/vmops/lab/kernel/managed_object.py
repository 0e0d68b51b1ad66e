"""The base of every managed object of the lab.

A managed object's SOAP methods are plain methods named exactly as on the wire, taking the wire's
parameter names; those that the client left out are None. Faults are raised as pyVmomi faults.
All of it happens on the lab's event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import vim

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.session_manager import Session


class ManagedObject:
    """One object of the inventory, or one of the service's managers."""

    wire_type: ClassVar[type]
    """The pyVmomi class it is on the wire, such as ``vim.VirtualMachine``."""

    def __init__(self, kernel: Kernel, moid: str) -> None:
        self.kernel = kernel
        self.moid = moid
        self.owner: Session | None = None
        """The session it belongs to and dies with; None: everybody's."""
        self.properties: dict[str, Any] = {}
        """Top-level property to pyVmomi value. Read freely; after `Kernel.add` change it only
        through `Kernel.update`, never in place."""
        self.computed: dict[str, Callable[[], Any]] = {}
        """Top-level properties worked out whenever they are read."""
        self.ref: Any = self.wire_type(moid)
        """The reference the wire carries; equal to any other with its type and id."""
        if issubclass(self.wire_type, vim.ManagedEntity):
            self.computed["recentTask"] = lambda: kernel.tasks.recent_of(self)

    def read(self, name: str) -> Any:
        """The value of a top-level property now; None when it is unset."""
        compute = self.computed.get(name)
        return self.properties.get(name) if compute is None else compute()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.moid}>"
