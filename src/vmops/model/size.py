"""The size of a virtual machine: processors, memory, and its allocations of shared resources.

Nova's flavors say them as ``quota:<resource>_limit`` and the like, of the resources "cpu" in MHz,
"memory" in MiB, "disk_io" in operations each second, and "vif" in Mbit/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from vmops.errors import InstanceUnacceptable


class SharesLevel(StrEnum):
    """`SharesInfo.level`; the values are the words on the wire."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What a resource reserves, and is limited to, in its unit. ``limit`` -1 is none.

    ``shares`` count with the level CUSTOM only.
    """

    reservation: int = 0
    limit: int = -1
    level: SharesLevel = SharesLevel.NORMAL
    shares: int = 0

    def __post_init__(self) -> None:
        if self.reservation < 0 or self.limit < -1:
            raise InstanceUnacceptable("A reservation or limit cannot be negative.")
        if -1 < self.limit < self.reservation:
            raise InstanceUnacceptable(
                f"A limit of {self.limit} is less than the reservation of {self.reservation}."
            )
        if (self.level is SharesLevel.CUSTOM) != (self.shares > 0):
            raise InstanceUnacceptable(
                "A number of shares and the level custom need each other:"
                f" level {self.level}, {self.shares} shares."
            )

    @classmethod
    def from_extra_specs(cls, specs: Mapping[str, str], resource: str) -> Self:
        """That of a resource, from ``quota:cpu_limit`` and the like; a limit of 0 is none.

        Raises:
            InstanceUnacceptable: a value makes no sense.
        """
        level = specs.get(f"quota:{resource}_shares_level", SharesLevel.NORMAL)
        if level not in set(SharesLevel):
            raise InstanceUnacceptable(
                f"quota:{resource}_shares_level {level!r} is not one of {', '.join(SharesLevel)}."
            )
        return cls(
            reservation=_number(specs, f"quota:{resource}_reservation", 0),
            limit=_number(specs, f"quota:{resource}_limit", -1) or -1,
            level=SharesLevel(level),
            shares=_number(specs, f"quota:{resource}_shares_share", 0),
        )

    @classmethod
    def if_asked(cls, specs: Mapping[str, str], resource: str) -> Self | None:
        """The same, None if the extra specs say nothing of the resource.

        Raises:
            InstanceUnacceptable: a value makes no sense.
        """
        if any(key.startswith(f"quota:{resource}_") for key in specs):
            return cls.from_extra_specs(specs, resource)
        return None

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` gave."""
        return cls(
            reservation=int(values["reservation"]),
            limit=int(values["limit"]),
            level=SharesLevel(values["level"]),
            shares=int(values["shares"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a VM has of processors and memory.

    ``cores_per_socket`` 0 leaves the sockets as they are where that is possible, and an allocation
    of None stays as it is.
    """

    vcpus: int
    memory_mib: int
    cores_per_socket: int = 0
    cpu: Allocation | None = None
    memory: Allocation | None = None

    def __post_init__(self) -> None:
        if self.cores_per_socket and self.vcpus % self.cores_per_socket:
            raise InstanceUnacceptable(
                f"{self.vcpus} vCPUs cannot be divided into sockets of {self.cores_per_socket}"
                " cores."
            )
        if self.memory is not None and self.memory.reservation > self.memory_mib:
            raise InstanceUnacceptable(
                f"{self.memory.reservation} MiB of memory cannot be reserved"
                f" of the {self.memory_mib} MiB that there are."
            )

    def dump(self) -> dict[str, Any]:
        """As JSON can keep it."""
        return asdict(self)

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        """From what `dump` gave."""
        return cls(
            vcpus=int(values["vcpus"]),
            memory_mib=int(values["memory_mib"]),
            cores_per_socket=int(values["cores_per_socket"]),
            cpu=Allocation.load(values["cpu"]) if values["cpu"] else None,
            memory=Allocation.load(values["memory"]) if values["memory"] else None,
        )


def _number(specs: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(specs.get(key, default))
    except ValueError as error:
        raise InstanceUnacceptable(f"{key} {specs[key]!r} is not a whole number.") from error
