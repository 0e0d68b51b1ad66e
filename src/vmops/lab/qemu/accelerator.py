"""How fast guests can run here: with the processor's help, or translated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """``options`` are tried by QEMU in order; ``cpu_model`` fits all of them."""

    options: tuple[str, ...]
    cpu_model: str
    memory_short_kib: int = 0
    """What a guest gets less of memory than it is given; see `_TRANSLATED`."""


# The default translation buffer takes a quarter of the guest's memory; 32 MiB cost no speed that
# could be measured. The model is the oldest that distributions of x86-64-v2 boot on; a guest
# without rdrand waits for entropy.
#
# A translated guest of a round size is damaged by a live migration, one move in two if it is busy:
# where QEMU 7.2 looks at the marks of 64 pages at once it forgets to have the guest mark them anew,
# so what is written to them later stays behind. It does so only for memory that is a multiple of
# 256 KiB; of any other it looks at each page. 8 KiB is the unit QEMU takes memory in.
_TRANSLATED = Accelerator(
    options=("tcg,tb-size=32",), cpu_model="Nehalem,+rdrand", memory_short_kib=8
)
_VIRTUALISED = Accelerator(options=("kvm",), cpu_model="host")


def accelerator(cpuinfo: Path = Path("/proc/cpuinfo"), kvm: Path = Path("/dev/kvm")) -> Accelerator:
    """Return the best there is.

    The device file is looked at only if the processor has the extension: inside some virtual
    machines it opens, and the guest then hangs.
    """
    flags = {
        flag
        for line in cpuinfo.read_text().splitlines()
        if line.startswith("flags")
        for flag in line.partition(":")[2].split()
    }
    if flags & {"vmx", "svm"} and os.access(kvm, os.R_OK | os.W_OK):
        return _VIRTUALISED
    return _TRANSLATED
