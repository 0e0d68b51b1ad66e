"""Every error that vmops raises, in one tree.

::

    VMOpsError
    ├── NotFound
    │   ├── InstanceNotFound
    │   ├── ImageNotFound
    │   ├── DatastoreNotFound
    │   │   └── NoSuitableDatastore
    │   ├── NetworkNotFound
    │   ├── ClusterNotFound
    │   ├── HostNotFound
    │   ├── FileNotFound
    │   ├── NotRescued
    │   ├── NotResized
    │   ├── NoRootDisk
    │   └── ManagedObjectNotFound
    ├── Conflict
    │   ├── AlreadyExists
    │   │   ├── InstanceExists
    │   │   ├── DuplicateName
    │   │   └── FileAlreadyExists
    │   ├── InvalidPowerState
    │   │   ├── InstancePowerOffFailure
    │   │   ├── InstanceRebootFailure
    │   │   ├── InstanceResumeFailure
    │   │   └── InstanceSuspendFailure
    │   ├── InvalidState
    │   ├── MigrationPreCheckFailed
    │   ├── Busy
    │   ├── FileLocked
    │   └── LeftBehind
    ├── Refused
    │   ├── InvalidLogin
    │   ├── NotAuthenticated
    │   ├── NoPermission
    │   └── CertificateRefused
    ├── Exhausted
    │   ├── NoDiskSpace
    │   └── NoSuitableHost
    ├── Invalid
    │   ├── InvalidArgument
    │   ├── InvalidName
    │   ├── InstanceUnacceptable
    │   ├── ResizeError
    │   ├── ImageNotAcceptable
    │   └── UnsupportedDevice
    ├── Unavailable
    │   ├── ConnectionLost
    │   ├── TimedOut
    │   ├── SessionOverload
    │   ├── ToolsUnavailable
    │   ├── QuiesceFailed
    │   └── ConsoleTypeUnavailable
    ├── TransferFailed
    ├── NotSupported
    └── VsphereFault
        └── TaskFailed

A message is one or two sentences for a person: what is wrong, and what to do where that is known.
What was undone, or could not be, is added to an error as notes (`BaseException.add_note`).
"""

from __future__ import annotations

from collections.abc import Sequence


class VMOpsError(Exception):
    """The root of the tree."""


class NotFound(VMOpsError):
    """Something named by the caller does not exist."""


class InstanceNotFound(NotFound):
    """No virtual machine has this instance UUID."""

    def __init__(self, instance_uuid: str) -> None:
        super().__init__(instance_uuid)
        self.instance_uuid = instance_uuid

    def __str__(self) -> str:
        return f"There is no instance {self.instance_uuid}."


class _NamedNotFound(NotFound):
    kind = "object"

    def __init__(self, name: str, available: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(available))
        self.name = name
        self.available = tuple(available)

    def __str__(self) -> str:
        there = f" There is: {', '.join(sorted(self.available))}." if self.available else ""
        return f"There is no {self.kind} {self.name!r}.{there}"


class ImageNotFound(_NamedNotFound):
    """The image store has no such image; ``available`` names some that it has."""

    kind = "image"


class DatastoreNotFound(_NamedNotFound):
    """No datastore has this name."""

    kind = "datastore"


class NoSuitableDatastore(DatastoreNotFound):
    """No datastore may be used; ``rejected`` gives a reason for each that was looked at."""

    def __init__(self, wanted: str, rejected: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(wanted)
        self.rejected = tuple(rejected)

    def __str__(self) -> str:
        reasons = "".join(f" {datastore}: {reason}." for datastore, reason in self.rejected)
        return f"No datastore is suitable for {self.name}.{reasons}"


class NetworkNotFound(_NamedNotFound):
    """No port group has this name where the instance goes."""

    kind = "network"


class ClusterNotFound(_NamedNotFound):
    """No cluster has this name."""

    kind = "cluster"


class HostNotFound(_NamedNotFound):
    """No host has this name."""

    kind = "host"


class FileNotFound(_NamedNotFound):
    """The datastore has no such file."""

    kind = "file"


class NotRescued(NotFound):
    """The instance is not rescued, so there is nothing to take back."""


class NotResized(NotFound):
    """The instance is not being resized, so there is nothing to finish or to take back."""


class NoRootDisk(NotFound):
    """The instance has no disk that it boots from."""


class ManagedObjectNotFound(NotFound):
    """The server does not know the managed object (any more); ``moref`` is "Type:moid"."""

    def __init__(self, moref: str) -> None:
        super().__init__(moref)
        self.moref = moref

    def __str__(self) -> str:
        return f"The server has no object {self.moref} (any more)."


class Conflict(VMOpsError):
    """The state of things does not allow what was asked."""


class AlreadyExists(Conflict):
    """Something of this name or identity is there already."""


class InstanceExists(AlreadyExists):
    """A virtual machine with this instance UUID is there; it was not touched."""

    def __init__(self, instance_uuid: str, name: str = "") -> None:
        super().__init__(instance_uuid, name)
        self.instance_uuid = instance_uuid
        self.name = name

    def __str__(self) -> str:
        called = f" (called {self.name!r})" if self.name else ""
        return f"There is an instance {self.instance_uuid} already{called}; it was not touched."


class DuplicateName(AlreadyExists):
    """The folder has a child of this name."""


class FileAlreadyExists(AlreadyExists):
    """The datastore has a file of this name."""


class InvalidPowerState(Conflict):
    """The virtual machine is in a power state in which this cannot be done."""


class InstancePowerOffFailure(InvalidPowerState):
    """The instance cannot be powered off in its state."""


class InstanceRebootFailure(InvalidPowerState):
    """The instance is not powered on, so it cannot be rebooted."""


class InstanceResumeFailure(InvalidPowerState):
    """The instance is not suspended, so it cannot be resumed."""


class InstanceSuspendFailure(InvalidPowerState):
    """The instance is not powered on, so it cannot be suspended."""


class InvalidState(Conflict):
    """The instance is rescued, being resized or the like, and this cannot be done meanwhile."""


class MigrationPreCheckFailed(Conflict):
    """The destination cannot take the instance as things are; nothing was moved."""


class Busy(Conflict):
    """Another operation is running on the object; the message says which and since when."""


class FileLocked(Conflict):
    """The file is in use by a virtual machine."""


class LeftBehind(Conflict):
    """Something could not be removed; ``leftovers`` names each thing that is still there."""

    def __init__(self, what: str, leftovers: Sequence[str]) -> None:
        super().__init__(what, tuple(leftovers))
        self.what = what
        self.leftovers = tuple(leftovers)

    def __str__(self) -> str:
        return f"{self.what} Left behind: {'; '.join(self.leftovers)}."


class Refused(VMOpsError):
    """The server, or our own care about who it is, says no."""


class InvalidLogin(Refused):
    """User name or password is wrong."""


class NotAuthenticated(Refused):
    """The session is not (or no longer) logged in, and a new login did not help."""


class NoPermission(Refused):
    """The user lacks a privilege; the message names object and privilege."""


class CertificateRefused(Refused):
    """The server's certificate is not trusted, or is not the pinned one."""


class Exhausted(VMOpsError):
    """There is not enough of something."""


class NoDiskSpace(Exhausted):
    """The datastore is full."""


class NoSuitableHost(Exhausted):
    """No host can run the instance."""


class Invalid(VMOpsError):
    """What was asked for makes no sense, whatever the state of things."""


class InvalidArgument(Invalid):
    """The server refuses an argument; the message names it."""


class InvalidName(Invalid):
    """A name has characters or a form that are not allowed."""


class InstanceUnacceptable(Invalid):
    """The instance's flavor cannot be built here, or does not fit its image."""


class ResizeError(Invalid):
    """The instance cannot have this size: a disk does not shrink. It was not touched."""


class ImageNotAcceptable(Invalid):
    """The image is broken, unsafe, or of a kind that cannot be used."""


class UnsupportedDevice(Invalid):
    """A device model is unknown or cannot be used here."""


class Unavailable(VMOpsError):
    """Something that is normally there did not answer; trying again later may help."""


class ConnectionLost(Unavailable):
    """The server cannot be reached or went away; a change may or may not have happened."""


class TimedOut(Unavailable):
    """A deadline passed; the task was asked to stop."""


UNANSWERED: tuple[type[BaseException], ...] = (
    ConnectionLost,
    TimedOut,
    KeyboardInterrupt,
    SystemExit,
)
"""What leaves open whether a change has happened: who undoes must look."""


class SessionOverload(Unavailable):
    """The server has too many sessions or requests."""


class ToolsUnavailable(Unavailable):
    """The guest runs no VMware Tools, so it cannot be asked."""


class QuiesceFailed(Unavailable):
    """The guest could not be brought to hold its writes for a snapshot."""


class ConsoleTypeUnavailable(Unavailable):
    """The instance has no such console now."""


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
