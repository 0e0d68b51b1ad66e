"""An instance: what Nova calls a server, and what becomes a virtual machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace

from vmops import units
from vmops.errors import InstanceUnacceptable, InvalidArgument, InvalidName
from vmops.model.datastore_path import check_file_name
from vmops.model.hardware import FlavorHardware
from vmops.model.image import VifModel
from vmops.model.maximums import check_disk, check_machine
from vmops.model.power import InstanceState
from vmops.model.size import Allocation, Size
from vmops.model.topology import CpuTopology, cores_per_socket
from vmops.model.uuid_text import is_uuid

MAX_VLAN = 4095
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """The size of an instance. ``root_gib`` 0 means: as big as the image's disk.

    Allocations of None are the server's own for a new instance; a resize leaves them. ``disk_io``
    is that of the root disk, ``vif`` that of every NIC. ``topology`` says which cores per socket an
    image may wish for; ``cores_per_socket`` is what holds without an image's wish.
    """

    vcpus: int = 1
    memory_mib: int = 128
    root_gib: int = 0
    ephemeral_gib: int = 0
    swap_mib: int = 0
    name: str = ""
    cores_per_socket: int = 0
    cpu: Allocation | None = None
    memory: Allocation | None = None
    disk_io: Allocation | None = None
    vif: Allocation | None = None
    topology: CpuTopology = CpuTopology()  # noqa: RUF009 - it is frozen
    hardware: FlavorHardware = FlavorHardware()  # noqa: RUF009 - it is frozen
    storage_policy: str = ""
    """The name of the policy that its datastore must comply with; "": the engine's setting."""

    @property
    def size(self) -> Size:
        """What the VM has of processors and memory."""
        return Size(
            vcpus=self.vcpus,
            memory_mib=self.memory_mib,
            cores_per_socket=self.cores_per_socket,
            cpu=self.cpu,
            memory=self.memory,
        )

    def size_for(self, image: CpuTopology) -> Size:
        """The same with the cores per socket that an image's wishes and limits lead to.

        Raises:
            InstanceUnacceptable: they contradict the flavor's.
        """
        own = self.topology
        if own == CpuTopology() and self.cores_per_socket:
            own = replace(own, cores=self.cores_per_socket)
        return replace(self.size, cores_per_socket=cores_per_socket(self.vcpus, own, image))

    def __post_init__(self) -> None:
        check_machine(self.vcpus, self.memory_mib, InstanceUnacceptable)
        for what, size_bytes in (
            ("A root disk", units.gib_to_bytes(self.root_gib)),
            ("An ephemeral disk", units.gib_to_bytes(self.ephemeral_gib)),
            ("A swap disk", units.mib_to_bytes(self.swap_mib)),
        ):
            check_disk(what, size_bytes, InstanceUnacceptable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asked for an instance, as far as it is known."""

    user_id: str = ""
    user_name: str = ""
    project_id: str = ""
    project_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """The fixed addresses of an interface in one subnet; ``gateway`` "" where there is none."""

    cidr: str
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    dns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_network(self.cidr, strict=False)
        except ValueError:
            raise InvalidName(f"{self.cidr!r} is not a subnet such as 192.0.2.0/24.") from None

    @property
    def version(self) -> int:
        """The IP version: 4 or 6."""
        return ipaddress.ip_network(self.cidr, strict=False).version


@dataclass(frozen=True, slots=True, kw_only=True)
class Vif:
    """A virtual interface: a NIC and the port group it is plugged into.

    ``mac_address`` "" lets the server choose one; ``model`` None takes the image's. ``vlan``, if
    given, says that the port group is made on the hosts' standard switches with this VLAN id where
    it is missing; ``allocation`` is of bandwidth.
    """

    network: str
    id: str = ""
    mac_address: str = ""
    model: VifModel | None = None
    subnets: tuple[Subnet, ...] = ()
    vlan: int | None = None
    allocation: Allocation | None = None

    def __post_init__(self) -> None:
        if not self.network:
            raise InvalidName("An interface names no network.")
        if self.vlan is not None and not 0 <= self.vlan <= MAX_VLAN:
            raise InvalidArgument(
                f"The network {self.network!r} has the VLAN id {self.vlan}; it is 0 to {MAX_VLAN}."
            )
        object.__setattr__(self, "mac_address", self.mac_address.lower())
        if self.mac_address and not _MAC.match(self.mac_address):
            raise InvalidName(f"{self.mac_address!r} is not a MAC address.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The identity and size of an instance. ``uuid`` is the VM's ``config.instanceUuid``.

    ``display_name`` is what its user calls it, which need not be unique as ``name`` is.
    """

    uuid: str
    name: str
    display_name: str = ""
    flavor: Flavor = field(default_factory=Flavor)
    project_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "uuid", self.uuid.lower())
        if not is_uuid(self.uuid):
            raise InvalidName(f"{self.uuid!r} is not an instance UUID.")
        if len(check_file_name(self.name)) > 80:
            raise InvalidName(f"{self.name!r} is too long: vSphere's names have 80 characters.")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceInfo:
    """What `get_info` tells. Sizes are KiB; ``cpu_time_ns`` is 0 where vSphere keeps no count."""

    state: InstanceState
    max_mem_kib: int = 0
    mem_kib: int = 0
    num_cpu: int = 0
    cpu_time_ns: int = 0

    def as_dict(self) -> dict[str, int]:
        """The same under the keys that Nova's callers of old know."""
        return {
            "state": int(self.state),
            "max_mem": self.max_mem_kib,
            "mem": self.mem_kib,
            "num_cpu": self.num_cpu,
            "cpu_time": self.cpu_time_ns,
        }
