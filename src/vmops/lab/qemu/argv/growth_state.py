"""Processors and memory: what a guest was started with, and what it got since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import GuestDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a guest has; ``modules`` are the sizes of memory that was added, in order, in MiB."""

    cpus_at_start: int
    max_cpus: int
    memory_at_start_kib: int
    max_memory_mib: int
    """0: no memory can be added."""
    cpus: int = 0
    modules: tuple[int, ...] = ()

    def check(self, machine: GuestDefinition) -> None:
        """Raise HypervisorError unless this is what the machine has."""
        cpus = self.cpus_at_start + self.cpus
        memory_mib = -(-self.memory_at_start_kib // 1024) + sum(self.modules)
        if (cpus, memory_mib) != (machine.cpus, machine.memory_mib):
            raise HypervisorError(
                f"the memory is that of a guest with {cpus} processors and {memory_mib} MiB, not of"
                f" {machine.name} with {machine.cpus} and {machine.memory_mib} MiB"
            )

    def as_json(self) -> dict[str, object]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Growth:
        """Build it from what a file says.

        Raises:
            ValueError, KeyError, TypeError: the file says something else.
        """
        return cls(
            cpus_at_start=int(fields["cpus_at_start"]),
            max_cpus=int(fields["max_cpus"]),
            memory_at_start_kib=int(fields["memory_at_start_kib"]),
            max_memory_mib=int(fields["max_memory_mib"]),
            cpus=int(fields["cpus"]),
            modules=tuple(int(size) for size in fields["modules"]),
        )
