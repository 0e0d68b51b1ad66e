"""What came back from the server. See `vmops.errors` for the tree."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.errors.base import VMOpsError


class TransferFailed(VMOpsError):
    """Bytes did not all arrive; ``status`` is the HTTP status, None if there was none."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotSupported(VMOpsError):
    """The endpoint cannot do this."""


class VsphereFault(VMOpsError):
    """A fault of the server that has no class of its own here; name and message are kept."""

    def __init__(
        self, fault_name: str, message: str, *, method: str = "", causes: Sequence[str] = ()
    ) -> None:
        super().__init__(fault_name, message, method, tuple(causes))
        self.fault_name = fault_name
        self.message = message
        self.method = method
        self.causes = tuple(causes)

    @property
    def where(self) -> str:
        """In what it happened, as the message says it."""
        return f" in {self.method}" if self.method else ""

    def __str__(self) -> str:
        because = f" (because of {', '.join(self.causes)})" if self.causes else ""
        message = self.message or "no message"
        return f"The server reports {self.fault_name}{self.where}: {message}{because}"


class TaskFailed(VsphereFault):
    """A task ended with a fault that has no class of its own here; ``entity`` is its object."""

    def __init__(
        self,
        fault_name: str,
        message: str,
        *,
        method: str = "",
        causes: Sequence[str] = (),
        entity: str = "",
    ) -> None:
        super().__init__(fault_name, message, method=method, causes=causes)
        self.entity = entity

    @property
    def where(self) -> str:
        """In what, and on which object."""
        return super().where + (f" on {self.entity}" if self.entity else "")
