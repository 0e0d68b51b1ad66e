"""What a virtual machine can have at most: vSphere 8's configuration maximums.

What is more is refused before anything is made. A host or an older hardware version may have less;
the server says so.
"""

from __future__ import annotations

from vmops import units
from vmops.errors import VMOpsError

MOST_VCPUS = 768
MOST_MEMORY_MIB = 24 * units.TIB // units.MIB
MOST_DISK_BYTES = 62 * units.TIB


def check_disk(what: str, size_bytes: int, error: type[VMOpsError]) -> None:
    """Refuse a disk that cannot be; ``what`` is how the message calls it.

    Raises:
        VMOpsError: it is negative or too big; an ``error``.
    """
    if size_bytes < 0:
        raise error(f"{what} cannot be negative.")
    if size_bytes > MOST_DISK_BYTES:
        raise error(
            f"{what} of {units.human_bytes(size_bytes)} is too big: a disk of vSphere has"
            f" {units.human_bytes(MOST_DISK_BYTES)} at most."
        )


def check_machine(vcpus: int, memory_mib: int, error: type[VMOpsError]) -> None:
    """The same for processors and memory.

    Raises:
        VMOpsError: there are too many, or too few; an ``error``.
    """
    if vcpus < 1:
        raise error(f"{vcpus} vCPUs: an instance needs at least one.")
    if vcpus > MOST_VCPUS:
        raise error(f"{vcpus} vCPUs: an instance has {MOST_VCPUS} at most.")
    if memory_mib < 4 or memory_mib % 4:
        raise error(f"{memory_mib} MiB of memory: vSphere takes a multiple of 4.")
    if memory_mib > MOST_MEMORY_MIB:
        raise error(f"{memory_mib} MiB of memory: an instance has {MOST_MEMORY_MIB} at most.")
