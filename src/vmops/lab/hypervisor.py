"""What a virtual machine of the lab runs on, as the managed objects see it.

The managed objects are the same code over every hypervisor: QEMU for guests that boot, and one
without guests for speed. All methods run on the lab's event loop. A machine is named by its
``key``, which is the managed object id of its virtual machine and is stable over restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLayer:
    """One file of a disk's chain. ``file_format`` is never guessed from the file's content."""

    file: Path
    file_format: Literal["raw", "qcow2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk as the guest sees it: its chain of files, top first, and its place on a bus."""

    key: int
    layers: tuple[DiskLayer, ...]
    controller_key: int
    unit_number: int
    serial: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A disk controller: ``model`` is the vSphere class name of the device."""

    key: int
    bus_number: int
    model: Literal[
        "ParaVirtualSCSIController",
        "VirtualLsiLogicController",
        "VirtualLsiLogicSASController",
        "VirtualBusLogicController",
        "VirtualIDEController",
        "VirtualAHCIController",
        "VirtualNVMEController",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network card: ``segment`` names the layer-2 segment its port group is."""

    key: int
    model: Literal[
        "VirtualE1000", "VirtualE1000e", "VirtualVmxnet3", "VirtualVmxnet2", "VirtualPCNet32"
    ]
    mac_address: str
    segment: str
    connected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cdrom:
    """A CD-ROM drive; ``image`` is None when it is empty."""

    key: int
    controller_key: int
    unit_number: int
    image: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPort:
    """A serial port whose output is appended to a file."""

    key: int
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A layer-2 segment the lab's machines can share; ``nat`` gives it DHCP and a way out."""

    name: str
    nat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All that is needed to start a guest."""

    key: str
    name: str
    bios_uuid: str
    cpus: int
    cores_per_socket: int
    memory_mib: int
    firmware: Literal["bios", "efi"]
    controllers: tuple[Controller, ...]
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    cdroms: tuple[Cdrom, ...]
    serial_ports: tuple[SerialPort, ...]
    boot_order: tuple[int, ...]
    """Device keys in boot order; empty: disks in bus order, then CD-ROM, then network."""
    extra_config: Mapping[str, str]
    segments: tuple[Segment, ...] = ()


class HypervisorError(Exception):
    """The guest could not be started, stopped or asked; the text is fit for a user."""


class HypervisorMissing(HypervisorError):
    """There is no hypervisor on this machine; the text says what to install."""


class Hypervisor(Protocol):
    """What runs guests.

    Every method raises HypervisorError when the guest cannot do what is asked, and
    HypervisorMissing where a program is not installed.
    """

    async def start(self, on_stopped: Callable[[str], None]) -> None:
        """Get ready, re-attaching guests that survived; ``on_stopped(key)`` is called on the loop
        whenever a guest ends by itself (its own power-off, or its process died)."""

    async def stop(self, *, keep_guests: bool) -> None:
        """Let go of all guests (they run on), or end them too."""

    async def running(self) -> frozenset[str]:
        """Keys of the machines whose guests run now."""

    async def power_on(self, machine: Machine) -> None:
        """Start the guest; returns once its processor runs."""

    async def resume(self, machine: Machine, memory: Path) -> None:
        """Start the guest from memory that `suspend` wrote."""

    async def suspend(self, key: str, memory: Path) -> None:
        """Write the guest's memory and device state to a file, then end the guest.

        On failure the guest runs on and the file is gone."""

    async def power_off(self, key: str) -> None:
        """End the guest at once; no error if it is not running."""

    async def reset(self, key: str) -> None:
        """Pull the reset line."""

    async def press_power_button(self, key: str) -> None:
        """Ask the guest by ACPI to power off; returns at once."""

    async def screenshot(self, key: str) -> bytes:
        """The guest's screen now, as PNG."""
