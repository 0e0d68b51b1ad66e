"""What the live inventory tells. Sizes are bytes; objects name each other by moid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from vmops.model.power import PowerState
from vmops.vsphere.wire.moref import Moref

NetworkKind: TypeAlias = Literal["standard", "distributed", "opaque"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatacenterInfo:
    """A datacenter; ``inventory_path`` is what ``dcPath`` wants: "DC0" or "folder/DC0"."""

    moref: Moref = field(compare=False)
    moid: str
    name: str
    inventory_path: str
    vm_folder: Moref = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderInfo:
    """A folder, of machines or of anything else; ``parent`` is "" of the root folder's."""

    moref: Moref = field(compare=False)
    moid: str
    name: str
    parent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInfo:
    """A cluster, or the compute resource of a single host (``is_cluster`` False)."""

    moref: Moref = field(compare=False)
    moid: str
    name: str
    resource_pool: Moref = field(compare=False)
    hosts: tuple[str, ...]
    datastores: tuple[str, ...]
    networks: tuple[str, ...]
    datacenter: str
    is_cluster: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """A host and whether it can be used; ``cluster`` is "" while the server does not tell."""

    moref: Moref = field(compare=False)
    moid: str
    name: str
    connected: bool
    in_maintenance: bool
    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatastoreInfo:
    """A datastore.

    ``maintenance_mode`` is "normal", "enteringMaintenance", "inMaintenance" or "" if not told.
    ``hosts_read_write`` are the hosts that have it mounted, accessible and writable; it is empty
    where the server does not tell mounts.
    """

    moref: Moref = field(compare=False)
    browser: Moref = field(compare=False)
    moid: str
    name: str
    type: str
    accessible: bool
    maintenance_mode: str
    capacity_bytes: int
    free_bytes: int
    hosts_read_write: frozenset[str]
    datacenter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """A port group. ``kind`` is "standard", "distributed" or "opaque".

    ``portgroup_key`` and ``switch_uuid`` are "" unless it is distributed; ``is_uplink`` marks a
    switch's own uplink group, which no VM can use.
    """

    moref: Moref | None = field(compare=False)
    moid: str
    name: str
    kind: NetworkKind
    portgroup_key: str
    switch_uuid: str
    hosts: frozenset[str]
    is_uplink: bool
    datacenter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VmInfo:
    """A virtual machine or template.

    ``power_state`` is None where the server does not tell, ``instance_uuid`` "" likewise.
    ``managed``: its ``extraConfig`` has ``nvp.vm-uuid``, or it names an extension that manages it.
    vSphere tells; vcsim, which takes no key of a list in a path, does not.
    ``settings``: what its ``extraConfig`` has of the keys that are followed, as it stands there.
    ``change_version`` tells one state of its configuration from the next.
    ``asks``: it waits for an answer, which only the server tells.
    ``memory_mib`` and ``num_cpu`` are 0 where the server does not tell.
    """

    moref: Moref = field(compare=False)
    moid: str
    name: str
    instance_uuid: str
    power_state: PowerState | None
    connection_state: str
    template: bool
    host: str
    managed: bool
    num_cpu: int
    memory_mib: int
    settings: Mapping[str, str] = field(hash=False)
    asks: bool
    change_version: str
