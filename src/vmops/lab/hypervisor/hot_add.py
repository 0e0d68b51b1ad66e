"""How far processors and memory can be added to a guest that runs."""

from __future__ import annotations

MEMORY_INCREMENT_MIB = 128
"""Linux takes memory in sections of this size."""
MEMORY_MODULES = 32
"""How many times memory can be added."""
_CPUS = 8
_MEMORY_FACTOR = 16  # as on ESXi: of what the machine was started with


def most_cpus(at_start: int, cores_per_socket: int) -> int:
    """Return how many processors a machine can come to, in whole sockets.

    A guest keeps room for each of them from its start, so they are few.
    """
    return max(at_start, _CPUS // cores_per_socket * cores_per_socket)


def most_memory_mib(at_start: int) -> int:
    """Return how much memory a machine can come to."""
    return at_start * _MEMORY_FACTOR
