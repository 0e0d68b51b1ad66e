"""What a caller named is not there. See `vmops.errors` for the tree."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.errors.base import VMOpsError


class NotFound(VMOpsError):
    """Something named by the caller does not exist."""


class InstanceNotFound(NotFound):
    """No virtual machine has this instance UUID."""

    def __init__(self, instance_uuid: str) -> None:
        super().__init__(instance_uuid)
        self.instance_uuid = instance_uuid

    def __str__(self) -> str:
        return f"There is no instance {self.instance_uuid}."


class OriginalNotFound(InstanceNotFound):
    """What an instance was before its resize is not there any more; ``disk`` is missing."""

    def __init__(self, instance_uuid: str, disk: str, called: str = "") -> None:
        super().__init__(instance_uuid)
        self.disk = disk
        self._called = called or f"Instance {instance_uuid}"

    def __str__(self) -> str:
        return (
            f"{self._called} cannot be what it was before its resize: its disk {self.disk} is not"
            " there any more. Confirm the resize to keep it as it is."
        )


class _NamedNotFound(NotFound):
    kind = "object"

    def __init__(self, name: str, available: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(available))
        self.name = name
        self.available = tuple(available)

    def __str__(self) -> str:
        there = f" Available: {', '.join(sorted(self.available))}." if self.available else ""
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


class NetworkAdapterNotFound(_NamedNotFound):
    """A host has no physical NIC of this name."""

    kind = "physical network adapter"


class SwitchNotFound(NotFound):
    """No standard switch of a host has this physical NIC."""

    def __init__(self, adapter: str, host: str) -> None:
        super().__init__(adapter, host)
        self.adapter = adapter
        self.host = host

    def __str__(self) -> str:
        return f"No standard switch of {self.host} has the network adapter {self.adapter}."


class ClusterNotFound(_NamedNotFound):
    """No cluster has this name; ``name`` "": there is not exactly one, and none was named."""

    kind = "cluster"

    def __str__(self) -> str:
        if self.name:
            return super().__str__()
        if not self.available:
            return "There is no cluster, and no host outside of one."
        return f"There are several clusters: {', '.join(sorted(self.available))}. Choose one."


class HostNotFound(_NamedNotFound):
    """No host has this name."""

    kind = "host"


class VolumeNotFound(_NamedNotFound):
    """There is no such volume."""

    kind = "volume"


class VolumeNotAttached(VolumeNotFound):
    """The instance does not have the volume; ``available`` are those that it has."""

    def __init__(self, volume_id: str, instance: str, attached: Sequence[str] = ()) -> None:
        super().__init__(volume_id, attached)
        self.instance = instance

    def __str__(self) -> str:
        there = ", ".join(sorted(self.available)) or "none"
        return f"Volume {self.name} is not attached to {self.instance}. Attached: {there}."


class StoragePolicyNotFound(_NamedNotFound):
    """The server has no storage policy of this name."""

    kind = "storage policy"


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
