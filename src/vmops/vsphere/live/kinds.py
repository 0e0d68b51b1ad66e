"""Which properties of which type the live inventory follows, and how they become its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vmops.model import extra_config
from vmops.model.entity_name import escaped
from vmops.model.power import PowerState
from vmops.vsphere.live.records import (
    ClusterInfo,
    DatacenterInfo,
    DatastoreInfo,
    FolderInfo,
    HostInfo,
    NetworkInfo,
    NetworkKind,
    VmInfo,
)
from vmops.vsphere.wire.moref import Moref, moid

if TYPE_CHECKING:
    from pyVmomi import vim

Values = dict[str, Any]

_SETTINGS = {
    f'config.extraConfig["{key}"]': key
    for key in (
        extra_config.INSTANCE_UUID,
        extra_config.PAUSED,
        extra_config.RESIZE,
        extra_config.RESCUE,
        extra_config.OPERATION,
        extra_config.WORKER,
    )
}
"""The keys of ``extraConfig`` that are followed, by their paths."""
_UPLINK_TAG = "SYSTEM/DVS.UPLINKPG"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type that is followed. ``optional`` paths are left out where a server refuses them."""

    wire_type: str
    paths: tuple[str, ...]
    optional: tuple[str, ...] = ()


KINDS: tuple[Kind, ...] = (
    Kind("Folder", ("name", "parent")),
    Kind("Datacenter", ("name", "parent", "vmFolder")),
    Kind("ComputeResource", ("name", "parent", "resourcePool", "host", "datastore", "network")),
    Kind("HostSystem", ("name", "parent", "runtime.connectionState", "runtime.inMaintenanceMode")),
    Kind(
        "Datastore",
        (
            "name",
            "parent",
            "browser",
            "summary.type",
            "summary.accessible",
            "summary.maintenanceMode",
            "summary.capacity",
            "summary.freeSpace",
        ),
        ("host",),
    ),
    Kind("Network", ("name", "parent", "host")),
    Kind("DistributedVirtualPortgroup", ("key", "config.distributedVirtualSwitch"), ("tag",)),
    Kind("DistributedVirtualSwitch", ("uuid",)),
    Kind(
        "VirtualMachine",
        (
            "name",
            "config.instanceUuid",
            "config.template",
            "config.hardware.numCPU",
            "config.hardware.memoryMB",
            "runtime.powerState",
            "runtime.connectionState",
            "runtime.host",
        ),
        ("config.managedBy.extensionKey", "config.changeVersion", "runtime.question", *_SETTINGS),
    ),
)
MACHINE = "VirtualMachine"
PLACES = tuple(kind for kind in KINDS if kind.wire_type != MACHINE)
"""What surrounds machines: few, and all that a spawn has to choose from."""


class Tree(Protocol):
    """What a record may ask about other objects."""

    def values_of(self, name: str) -> Values:
        """The values of the object of this moid, {} if it is not known."""
        ...

    def datacenter_above(self, values: Values) -> str:
        """The moid of the datacenter that an object with these values is in, "" if none."""
        ...


def build_datacenter(moref: Moref, values: Values, tree: Tree) -> DatacenterInfo:
    """A datacenter's record."""
    names = [escaped(text(values, "name"))]
    parent = values.get("parent")
    while parent is not None:
        above = tree.values_of(moid(parent))
        parent = above.get("parent")
        if parent is not None:  # the root folder's name is no part of a path
            names.append(escaped(text(above, "name")))
    return DatacenterInfo(
        moref=moref,
        moid=moid(moref),
        name=text(values, "name"),
        inventory_path="/".join(reversed(names)),
        vm_folder=_reference(values, "vmFolder"),
    )


def build_folder(moref: Moref, values: Values, tree: Tree) -> FolderInfo:
    """A folder's record."""
    parent = values.get("parent")
    return FolderInfo(
        moref=moref,
        moid=moid(moref),
        name=text(values, "name"),
        parent=moid(parent) if parent is not None else "",
    )


def build_cluster(moref: Moref, values: Values, tree: Tree) -> ClusterInfo:
    """A compute resource's record."""
    return ClusterInfo(
        moref=moref,
        moid=moid(moref),
        name=text(values, "name"),
        resource_pool=_reference(values, "resourcePool"),
        hosts=moids(values, "host"),
        datastores=moids(values, "datastore"),
        networks=moids(values, "network"),
        datacenter=tree.datacenter_above(values),
        is_cluster=type(moref)._wsdlName == "ClusterComputeResource",
    )


def build_host(moref: Moref, values: Values, tree: Tree) -> HostInfo:
    """A host's record."""
    parent = values.get("parent")
    return HostInfo(
        moref=moref,
        moid=moid(moref),
        name=text(values, "name"),
        connected=text(values, "runtime.connectionState") == "connected",
        in_maintenance=bool(values.get("runtime.inMaintenanceMode")),
        cluster=moid(parent) if parent is not None else "",
    )


def build_datastore(moref: Moref, values: Values, tree: Tree) -> DatastoreInfo:
    """A datastore's record."""
    return DatastoreInfo(
        moref=moref,
        browser=_reference(values, "browser"),
        moid=moid(moref),
        name=text(values, "name"),
        type=text(values, "summary.type"),
        accessible=bool(values.get("summary.accessible")),
        maintenance_mode=text(values, "summary.maintenanceMode"),
        capacity_bytes=int(values.get("summary.capacity") or 0),
        free_bytes=int(values.get("summary.freeSpace") or 0),
        hosts_read_write=frozenset(
            moid(mount.key) for mount in values.get("host") or () if _is_writable(mount.mountInfo)
        ),
        datacenter=tree.datacenter_above(values),
    )


def build_network(moref: Moref, values: Values, tree: Tree) -> NetworkInfo:
    """A network's record."""
    kinds: dict[str, NetworkKind] = {
        "DistributedVirtualPortgroup": "distributed",
        "OpaqueNetwork": "opaque",
    }
    switch = values.get("config.distributedVirtualSwitch")
    return NetworkInfo(
        moref=moref,
        moid=moid(moref),
        name=text(values, "name"),
        kind=kinds.get(type(moref)._wsdlName, "standard"),
        portgroup_key=text(values, "key"),
        switch_uuid=text(tree.values_of(moid(switch)), "uuid") if switch is not None else "",
        hosts=frozenset(moids(values, "host")),
        is_uplink=any(tag.key == _UPLINK_TAG for tag in values.get("tag") or ()),
        datacenter=tree.datacenter_above(values),
    )


def build_vm(moref: Moref, values: Values, tree: Tree) -> VmInfo:
    """A virtual machine's record."""
    host = values.get("runtime.host")
    options = ((key, getattr(values.get(path), "value", None)) for path, key in _SETTINGS.items())
    settings = {key: str(value) for key, value in options if value}
    return VmInfo(
        moref=moref,
        moid=moid(moref),
        name=text(values, "name"),
        instance_uuid=text(values, "config.instanceUuid").lower(),
        power_state=power_state(values.get("runtime.powerState")),
        connection_state=text(values, "runtime.connectionState"),
        template=bool(values.get("config.template")),
        host=moid(host) if host is not None else "",
        managed=bool(values.get("config.managedBy.extensionKey"))
        or extra_config.INSTANCE_UUID in settings,
        num_cpu=int(values.get("config.hardware.numCPU") or 0),
        memory_mib=int(values.get("config.hardware.memoryMB") or 0),
        settings=settings,
        asks=values.get("runtime.question") is not None,
        change_version=text(values, "config.changeVersion"),
    )


BUILDERS: dict[str, Callable[[Moref, Values, Tree], Any]] = {
    "Datacenter": build_datacenter,
    "Folder": build_folder,
    "ComputeResource": build_cluster,
    "HostSystem": build_host,
    "Datastore": build_datastore,
    "Network": build_network,
    "VirtualMachine": build_vm,
}


def power_state(value: object) -> PowerState | None:
    """The power state a server sent, None for one that is unknown or empty."""
    try:
        return PowerState(str(value))
    except ValueError:
        return None


def text(values: Values, path: str) -> str:
    """A value as text, "" where there is none."""
    value = values.get(path)
    return "" if value is None else str(value)


def _reference(values: Values, path: str) -> Any:
    """A reference that every object of the kind has."""
    return values.get(path)


def moids(values: Values, path: str) -> tuple[str, ...]:
    """The moids in a list of references."""
    return tuple(moid(moref) for moref in values.get(path) or ())


def _is_writable(mount: vim.host.MountInfo) -> bool:
    # accessible and mounted are unset on servers older than they are: then they hold.
    return (
        mount is not None
        and str(mount.accessMode or "readWrite") == "readWrite"
        and mount.accessible is not False
        and mount.mounted is not False
    )
