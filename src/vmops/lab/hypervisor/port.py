"""What a virtual machine of the lab runs on, as the managed objects see it.

The managed objects are the same code over every hypervisor: QEMU for guests that boot, and one
without guests for speed. All methods run on the lab's event loop. A machine is named by its
``key``, which is the managed object id of its virtual machine and is stable over restarts.
"""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from vmops.lab.hypervisor.tools import ToolsCommand, ToolsListener, ToolsState

ControllerModel: TypeAlias = Literal[
    "ParaVirtualSCSIController",
    "VirtualLsiLogicController",
    "VirtualLsiLogicSASController",
    "VirtualBusLogicController",
    "VirtualIDEController",
    "VirtualAHCIController",
    "VirtualNVMEController",
]
NicModel: TypeAlias = Literal[
    "VirtualE1000", "VirtualE1000e", "VirtualVmxnet3", "VirtualVmxnet2", "VirtualPCNet32"
]


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
    model: ControllerModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network card: ``segment`` names the layer-2 segment its port group is."""

    key: int
    model: NicModel
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
class Concentrator:
    """What a virtual serial port concentrator is told of a machine.

    It is asked to stand in for ``service_uri``, at which the machine would listen as a server or
    which it would connect to.
    """

    service_uri: str
    direction: Literal["server", "client"]
    vm_name: str
    vc_uuid: str
    bios_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSerialPort:
    """A serial port on a TCP connection.

    As a ``server`` the lab listens on 127.0.0.1 and serves one peer at a time; as a ``client`` it
    connects to ``host`` and tries again while nobody is there. Output that nobody takes, or takes
    too slowly, is lost: the guest never waits.
    """

    key: int
    direction: Literal["server", "client"]
    port: int
    host: str = "127.0.0.1"
    """Whom a client connects to; of a server it is not looked at."""
    telnet: bool = True
    concentrator: Concentrator | None = None
    """Of a client whose peer is a concentrator: what that is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A layer-2 segment the lab's machines can share; ``nat`` gives it DHCP and a way out."""

    name: str
    nat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDefinition:
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
    serial_ports: tuple[SerialPort | NetworkSerialPort, ...]
    boot_order: tuple[int, ...]
    """Device keys in boot order; empty: disks in bus order, then CD-ROM, then network."""
    extra_config: Mapping[str, str]
    segments: tuple[Segment, ...] = ()
    cpu_hot_add: bool = False
    """Whether processors can be added while it runs, see `vmops.lab.hypervisor.hot_add`."""
    memory_hot_add: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """How a live migration went. ``downtime_ms`` is how long the guest's processor stood still."""

    downtime_ms: float
    total_ms: float
    transferred_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskStatistics:
    """What a guest has moved from and to a disk since it was started."""

    read_bytes: int
    written_bytes: int
    reads: int
    writes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NicStatistics:
    """What went over a card since it was started, as the guest sees directions.

    None where the hypervisor does not know.
    """

    received_bytes: int | None
    sent_bytes: int | None
    received_packets: int | None = None
    sent_packets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStatistics:
    """What a guest uses; disks and cards by device key.

    ``cpu_time_ns`` is the time its virtual processors ran since its process was started: after a
    live migration it begins again. ``resident_bytes`` is what its process holds of this machine's
    memory.
    """

    cpu_time_ns: int
    resident_bytes: int
    disks: Mapping[int, DiskStatistics]
    nics: Mapping[int, NicStatistics]


Progress = Callable[[int], None]
"""Is called on the loop with percents, 0 to 100, never falling."""


class Hypervisor(Protocol):
    """What runs guests.

    Every method raises HypervisorError when the guest cannot do what is asked, and
    HypervisorMissing where a program is not installed.
    """

    async def start(
        self, on_stopped: Callable[[str], None], tools: ToolsListener | None = None
    ) -> None:
        """Get ready, re-attaching guests that survived.

        ``on_stopped(key)`` is called on the loop whenever a guest ends by itself (its own
        power-off, or its process died).
        """

    async def stop(self, *, keep_guests: bool) -> None:
        """Let go of all guests (they run on), or end them too."""

    async def running(self) -> frozenset[str]:
        """Keys of the machines whose guests run now."""

    async def power_on(self, machine: GuestDefinition) -> None:
        """Start the guest; returns once its processor runs."""

    async def resume(self, machine: GuestDefinition, memory: Path) -> None:
        """Start the guest from memory that `suspend` wrote."""

    async def suspend(self, key: str, memory: Path) -> None:
        """Write the guest's memory and device state to a file, then end the guest.

        On failure the guest runs on and the file is gone.
        """

    async def power_off(self, key: str) -> None:
        """End the guest at once; no error if it is not running."""

    async def reset(self, key: str) -> None:
        """Pull the reset line."""

    async def press_power_button(self, key: str) -> None:
        """Ask the guest by ACPI to power off; returns at once."""

    async def screenshot(self, key: str) -> bytes:
        """The guest's screen now, as PNG."""

    def tools(self, key: str) -> ToolsState:
        """What is known of the tools in the guest; of one that does not run, nothing."""

    async def tools_command(self, key: str, command: ToolsCommand) -> None:
        """Have the tools in the guest do something; returns when they say so, in bounded time.

        Guests begin to shut down, reboot or sleep after that; what is frozen thaws by itself after
        ten seconds. Raises ToolsNotRunning, ToolsRefused.
        """

    # Devices of a running guest. Files are opened as they are given and never created.

    async def attach_disk(self, key: str, disk: Disk, controller: Controller) -> None:
        """Plug a disk; its controller too if the guest does not have that yet.

        IDE, SATA and NVMe disks cannot be plugged while a guest runs: HypervisorError.
        """

    async def detach_disk(self, key: str, disk_key: int) -> None:
        """Unplug a disk; its files are closed on return. The guest is not asked."""

    async def extend_disk(self, key: str, disk_key: int, capacity_bytes: int) -> None:
        """Show the guest a grown disk.

        The file may have grown already, see `DiskStore.extend` with ``in_use``.
        """

    async def change_cdrom(self, key: str, cdrom: Cdrom) -> None:
        """Put an image into a drive the guest has, or with None take out what is in it.

        The guest's lock on the tray is ignored.
        """

    async def attach_nic(self, key: str, nic: Nic, segment: Segment) -> None:
        """Plug a network card."""

    async def detach_nic(self, key: str, nic_key: int) -> None:
        """Unplug a network card, which takes the guest's help.

        If the guest does not let go of it in ten seconds that is a HypervisorError, and the card
        stays, disconnected.
        """

    async def set_link(self, key: str, nic_key: int, *, connected: bool) -> None:
        """Plug the cable of a card in or out."""

    async def set_cpus(self, key: str, cpus: int, cores_per_socket: int) -> None:
        """Give the guest so many processors in all.

        It can have more than it was started with; fewer again only if it lets go of them.
        """

    async def add_memory(self, key: str, size_mib: int) -> None:
        """Give the guest so much memory more; the size is a multiple of the increment."""

    # Snapshots of a running guest.

    async def snapshot_disks(
        self, key: str, tops: Mapping[int, DiskLayer], memory: Path | None = None
    ) -> None:
        """Let the guest write to new, empty layers: of all disks at one moment, or of none.

        ``tops`` gives each disk's new layer by device key. With ``memory`` the guest's memory and
        device state of that same moment are written to a new file, for `resume` on a machine with
        the layers that were frozen here under new ones; the guest stands still meanwhile. On
        failure the guest goes on with the layers it had and the memory's file is gone.
        """

    async def collapse(
        self, key: str, disk_key: int, top: Path, into: Path, progress: Progress | None = None
    ) -> None:
        """Merge layers of a disk downward while the guest runs.

        What the layer ``top`` and those between hold is written to ``into``, a layer under it;
        then they are closed and the disk goes without them. If ``top`` is what the guest writes
        to, it writes to ``into`` from then on. ``into`` must be nobody else's: the hypervisor
        sees other guests on it, not descriptors; see `vmops.lab.storage.consolidating`, whose
        `drop_committed` does the rest afterwards. On failure the chain stays as it was.
        """

    # Moving.

    async def mirror_disk(
        self,
        key: str,
        disk_key: int,
        target: tuple[DiskLayer, ...],
        progress: Progress | None = None,
    ) -> None:
        """Move a running guest's disk to other files, which exist and have the disk's size.

        With a single layer the whole disk is copied to it. With more, only what the guest's
        topmost layer holds is copied to the topmost; those under it must be copies of those under
        the guest's. On return the guest uses the target alone and the old files are closed. On
        failure, and if this is cancelled, it goes on with the old ones.
        """

    async def migrate(
        self, key: str, machine: GuestDefinition, progress: Progress | None = None
    ) -> Migration:
        """Move the running guest to another place without stopping it.

        ``machine`` is the guest as it now runs: its devices as after all plugging, its disks with
        their present layers. Cards may be on other segments than before. The guest keeps its
        console's port if it has one; open consoles break off. On failure it runs on where it
        was.
        """

    # Looking at it.

    async def open_vnc(self, key: str) -> tuple[StreamReader, StreamWriter]:
        """Return a new connection to the guest's console, which speaks RFB without password.

        It ends with the guest, also when that is migrated.
        """

    async def serve_vnc(self, key: str, port: int, password: str) -> None:
        """Serve the guest's console on 127.0.0.1 to those who know the password.

        Replaces how it was served before. RFB looks at the password's first eight bytes alone.
        Served until the guest ends or `stop_vnc`, also after a live migration.
        """

    async def stop_vnc(self, key: str) -> None:
        """Let nobody in to the console any more; who is connected stays so."""

    async def statistics(self, key: str) -> GuestStatistics:
        """Return what the guest uses now; takes about a millisecond."""
