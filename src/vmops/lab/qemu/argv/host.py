"""What a command line takes from this host, and how values are written into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vmops.lab.qemu.accelerator import Accelerator
from vmops.lab.qemu.argv.growth_state import Growth


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """EFI firmware: its code, shared and read-only, and the machine's own variables."""

    code: Path
    variables: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The host's part of a command line. Descriptors are numbers in the new process."""

    program: Path
    accelerator: Accelerator
    sandbox: str | None
    machine_type: str = "pc"
    qmp_descriptor: int = 3
    memory_descriptor: int | None = None
    tools_descriptor: int | None = None
    """The socket on which the tools in the guest are reached."""
    starts_at_once: bool = False
    """Whether the guest runs as soon as its memory is there, and not on the lab's word."""
    nic_descriptors: Mapping[int, int] = field(default_factory=dict)
    """Device key of each network card to the socket that leads to its segment."""
    serial_descriptors: Mapping[int, int] = field(default_factory=dict)
    """Device key of each serial port on the network to the listening socket of its line."""
    guestinfo_files: Mapping[str, Path] = field(default_factory=dict)
    """Key of each value for the guest to the file that holds it."""
    efi: Firmware | None = None
    seed: Path | None = None
    """The disc for cloud-init."""
    growth: Growth | None = None
    """The processors and the memory of a guest that has run before."""


def option(value: str | Path) -> str:
    """Return a value as it is written inside a comma-separated option."""
    return str(value).replace(",", ",,")


def structured(flag: str, **members: object) -> tuple[str, str]:
    """Return an option in its JSON form, where no value can end the option early.

    Underscores of the names become the dashes QEMU writes, but for the one name that has one.
    """
    named = {
        name if name == "device_id" else name.replace("_", "-"): value
        for name, value in members.items()
    }
    return flag, json.dumps(named)
