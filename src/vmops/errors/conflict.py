"""The state of things does not allow it. See `vmops.errors` for the tree."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.errors.base import VMOpsError


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
    """The folder has a child of this name; ``existing`` is it, where the server names it."""

    existing: object = None


class FileAlreadyExists(AlreadyExists):
    """The datastore has a file of this name."""


class NetworkAmbiguous(Conflict):
    """Several networks have this name; the message says how each is named alone."""

    def __init__(self, name: str, choices: Sequence[Sequence[str]]) -> None:
        super().__init__(name, choices)
        self.name = name
        self.choices = choices

    def __str__(self) -> str:
        each = "; ".join(" or ".join(map(repr, names)) for names in self.choices)
        return f"Several networks are called {self.name!r}. Name one of them: {each}."


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


class LeaseLost(Conflict):
    """Another one took over what this operation was at, while it stood still; it stopped there.

    It changed nothing more from then on, and took nothing back: that is the other one's now.
    """

    def __init__(self, thing: str, operation: str, now: str = "") -> None:
        super().__init__(thing, operation, now)
        self.thing = thing
        self.operation = operation
        self.now = now

    def __str__(self) -> str:
        whom = f" (marked {self.now!r} now)" if self.now else ""
        return (
            f"{self.thing} was taken over{whom} while this {self.operation} stood still. This"
            f" {self.operation} stopped; it changes nothing there any more, and takes nothing back."
        )


class InvalidVlanTag(Conflict):
    """The port group has another VLAN than its network says; it was not touched."""

    def __init__(self, name: str, existing: int, wanted: int, host: str = "") -> None:
        super().__init__(name, existing, wanted, host)
        self.name = name
        self.existing = existing
        self.wanted = wanted
        self.host = host

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        return (
            f"The port group {self.name!r}{where} has VLAN {self.existing}, and {self.wanted} is"
            " asked for."
        )


class InvalidVlanPortGroup(Conflict):
    """The port group is on another switch than the physical NIC; it was not touched."""

    def __init__(self, name: str, existing: str, wanted: str, host: str) -> None:
        super().__init__(name, existing, wanted, host)
        self.name = name
        self.existing = existing
        self.wanted = wanted
        self.host = host

    def __str__(self) -> str:
        return (
            f"The port group {self.name!r} on {self.host} is on the switch {self.existing}, and"
            f" {self.wanted} is asked for."
        )


class Preempted(Conflict):
    """The operation was stopped, as its instance is to be destroyed; it took back what it did."""


class VolumeInUse(Conflict):
    """The volume is attached to a virtual machine; the message names it where it is known."""


class QuestionPending(Conflict):
    """The server waits for somebody's answer; the message has its question and the choices."""


class FileLocked(Conflict):
    """The file is in use by a virtual machine."""


class LeftBehind(Conflict):
    """Something could not be removed; ``leftovers`` names each thing that is still there.

    Not ``is_sure``: may still be there, as nobody could be asked.
    """

    def __init__(self, what: str, leftovers: Sequence[str], *, is_sure: bool = True) -> None:
        super().__init__(what, tuple(leftovers))
        self.what = what
        self.leftovers = tuple(leftovers)
        self.is_sure = is_sure

    def __str__(self) -> str:
        left = "Left behind" if self.is_sure else "Perhaps left behind"
        return f"{self.what} {left}: {'; '.join(self.leftovers)}."
