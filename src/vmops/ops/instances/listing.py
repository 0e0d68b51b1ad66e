"""Instances as people list them: state, size, addresses, place.

Of all machines only what tells ours from others is read, the rest of ours alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmops import units
from vmops.errors import InstanceNotFound
from vmops.model import extra_config
from vmops.model.identity import instance_by_its_file, instance_of
from vmops.model.power import PowerState
from vmops.ops.instances.info import read_marked, settings_of
from vmops.ops.notes.resize import Phase, find_note
from vmops.vsphere.live.properties import PAGE_SIZE
from vmops.vsphere.objects.lookup import find_unreadable, find_vm_on_server
from vmops.vsphere.session import Session

if TYPE_CHECKING:
    from vmops.specs.wire_types import VirtualDevice

_FILE = "summary.config.vmPathName"
"""Also known where the configuration cannot be read."""
IDENTITY_PATHS = (
    "name",
    "runtime.connectionState",
    "config.instanceUuid",
    _FILE,
    "config.extraConfig",
)
"""What `identity_of` needs, and the name."""
_PATHS = (
    *IDENTITY_PATHS,
    "runtime.powerState",
    "runtime.host",
    "network",
    "runtime.bootTime",
    "config.template",
    "config.guestId",
    "config.files.vmPathName",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "guest.net",
    "guest.ipAddress",
    "guest.toolsRunningStatus",
)
_LISTED = ("runtime.connectionState", _FILE)
_MACHINE = "VirtualMachine"
_PORT_GROUP = "DistributedVirtualPortgroup"
_STATUS = {
    PowerState.POWERED_ON: "running",
    PowerState.POWERED_OFF: "off",
    PowerState.SUSPENDED: "suspended",
}
UNREACHABLE = ("orphaned", "inaccessible", "invalid")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """One instance. ``addresses`` are those that the guest's Tools report.

    ``status`` is a power state, "running", "off" or "suspended", or what is more: "building",
    "paused", "rescued", "resized" (until that is confirmed or reverted), "resizing", "unknown";
    "template" where somebody made one of it; "inaccessible", "orphaned" or "invalid" where the
    server cannot reach it.
    """

    uuid: str
    name: str
    moid: str
    status: str
    cpus: int
    memory_mib: int
    host: str
    folder: str
    guest_id: str
    boot_time: str | None
    image_id: str | None
    tools: str
    addresses: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Names:
    """What managed objects that a VM refers to are called."""

    hosts: dict[str, str]
    port_groups: dict[str, str]


def list_records(session: Session) -> list[InstanceRecord]:
    """All instances by name, also those that `list_instances` leaves out as out of reach."""
    ours = [found[""] for found in read_marked(session, _LISTED) if identity_of(found)]
    if not ours:
        return []
    names = _Names(
        hosts={host.moid: host.name for host in session.inventory.hosts()},
        port_groups={n.portgroup_key: n.name for n in session.inventory.networks()},
    )
    records = [
        _record(moid, properties, names)
        for first in range(0, len(ours), PAGE_SIZE)
        for moid, properties in session.properties.read(
            ours[first : first + PAGE_SIZE], _MACHINE, _PATHS
        ).items()
    ]
    return sorted((r for r in records if r is not None), key=lambda record: record.name)


def get_record(session: Session, instance_uuid: str) -> InstanceRecord:
    """One instance.

    Raises:
        InstanceNotFound: there is no such instance.
    """
    vm = find_vm_on_server(session, instance_uuid) or find_unreadable(session, instance_uuid)
    if vm is not None:
        for moid, found in session.properties.read([vm.moref], _MACHINE, _PATHS).items():
            record = _record(moid, found, _names_in(session, found))
            if record is not None and record.uuid.lower() == instance_uuid.lower():
                return record
    raise InstanceNotFound(instance_uuid)


def identity_of(found: dict[str, Any]) -> str:
    """The UUID of the instance that a machine with these properties is; "" if it is none of ours.

    One whose configuration cannot be read is known by its file's name.
    """
    settings = settings_of(found)
    if found.get("runtime.connectionState") in UNREACHABLE and not settings:
        return instance_by_its_file(_file(found))
    return instance_of(found.get("config.instanceUuid"), settings)


def _file(found: dict[str, Any]) -> str:
    return str(found.get("config.files.vmPathName") or found.get(_FILE) or "")


def _names_in(session: Session, found: dict[str, Any]) -> _Names:
    """What one machine refers to, read by itself."""
    host = found.get("runtime.host")
    groups = [n for n in found.get("network") or () if type(n)._wsdlName == _PORT_GROUP]
    read = session.properties.read
    hosts = read([host], "HostSystem", ("name",)) if host is not None else {}
    ports = read(groups, _PORT_GROUP, ("key", "name")) if groups else {}
    return _Names(
        hosts={moid: str(told.get("name", "")) for moid, told in hosts.items()},
        port_groups={
            str(told.get("key", "")): str(told.get("name", "")) for told in ports.values()
        },
    )


def _record(moid: str, found: dict[str, Any], names: _Names) -> InstanceRecord | None:
    options = {o.key: o.value for o in found.get("config.extraConfig") or ()}
    uuid = identity_of(found)
    if not uuid:
        return None
    host = found.get("runtime.host")
    boot_time = found.get("runtime.bootTime")
    devices = found.get("config.hardware.device") or ()
    return InstanceRecord(
        uuid=uuid,
        name=str(found.get("name", "")),
        moid=moid.rpartition(":")[2],
        status=_status(found, options),
        cpus=int(found.get("config.hardware.numCPU") or 0),
        memory_mib=int(found.get("config.hardware.memoryMB") or 0),
        host=names.hosts.get(str(getattr(host, "_moId", "")), ""),
        folder=_file(found).rpartition("/")[0],
        guest_id=str(found.get("config.guestId") or ""),
        boot_time=boot_time.isoformat() if boot_time else None,
        image_id=options.get(extra_config.IMAGE_ID),
        tools=str(found.get("guest.toolsRunningStatus") or ""),
        addresses=_addresses(found),
        nics=tuple(filter(None, (_nic(device, names) for device in devices))),
        disks=tuple(filter(None, map(_disk, devices))),
    )


def _status(found: dict[str, Any], options: dict[str, Any]) -> str:
    connection = str(found.get("runtime.connectionState"))
    if connection in UNREACHABLE or found.get("config.template"):
        return connection if connection in UNREACHABLE else "template"
    if options.get(extra_config.OPERATION):
        return "building"
    if options.get(extra_config.RESCUE):
        return "rescued"
    if (note := find_note(options)) is not None:
        return "resized" if note.phase is Phase.RESIZED else "resizing"
    power = found.get("runtime.powerState")
    if power == PowerState.SUSPENDED and options.get(extra_config.PAUSED) == "1":
        return "paused"
    return _STATUS[PowerState(str(power))] if power in set(PowerState) else "unknown"


def _addresses(found: dict[str, Any]) -> tuple[str, ...]:
    seen = [str(a) for nic in found.get("guest.net") or () for a in nic.ipAddress or ()]
    one = found.get("guest.ipAddress")
    return tuple(dict.fromkeys([*seen, *([str(one)] if one else [])]))


def _nic(device: VirtualDevice, names: _Names) -> str | None:
    """A NIC's MAC address, model and port group; None for any other device."""
    mac = getattr(device, "macAddress", None)
    if mac is None:
        return None
    port = getattr(device.backing, "port", None)
    network = (
        names.port_groups.get(port.portgroupKey, port.portgroupKey)
        if port is not None
        else getattr(device.backing, "deviceName", "")
    )
    model = type(device).__name__.rpartition(".")[2].removeprefix("Virtual").lower()
    return f"{mac} {model} {network}"


def _disk(device: VirtualDevice) -> str | None:
    capacity = getattr(device, "capacityInKB", None)
    if capacity is None:
        return None
    file = getattr(device.backing, "fileName", "")
    return f"{file} ({units.human_bytes(units.kib_to_bytes(capacity))})"
