"""Where a resize takes an instance, and where its revert takes it back to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmops.errors import HostNotFound, InvalidName, MigrationPreCheckFailed
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.own_disks import is_foreign
from vmops.ops.engine.placement import FILTERS, WantedSpace, roomiest
from vmops.ops.notes.resize import ResizeNote
from vmops.specs.relocation import relocation
from vmops.vsphere.live.records import ClusterInfo, DatastoreInfo, HostInfo
from vmops.vsphere.objects.vm_summary import VmSummary
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import reference

if TYPE_CHECKING:
    from vmops.specs.wire_types import RelocateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a VM goes; what is None stays."""

    host: HostInfo | None = None
    cluster: ClusterInfo | None = None
    datastore: DatastoreInfo | None = None

    def spec(self, session: Session, summary: VmSummary) -> RelocateSpec:
        """The ``RelocateSpec`` that takes a machine there, without the disks of others."""
        return relocation(
            host=self.host.moref if self.host else None,
            pool=self.cluster.resource_pool if self.cluster else None,
            datastore=self.datastore.moref if self.datastore else None,
            staying=_foreign_disks(session, summary) if self.datastore else (),
            consolidate=self.datastore is not None and not summary.has_snapshots,
        )


def find_destination(engine: Engine, summary: VmSummary, dest: str) -> Destination | None:
    """The host, the datastore or the cluster of this name, with what has to go along.

    None: the machine is there already, or ``dest`` is "" or the endpoint itself.

    Raises:
        HostNotFound: there is nothing of this name; the error names the hosts.
        MigrationPreCheckFailed: it cannot take the machine; the message says why.
    """
    session = engine.session
    if dest in {"", session.endpoint.host}:
        return None
    inventory = session.inventory
    present = next((h for h in inventory.hosts() if h.moid == summary.host), None)
    for host in inventory.hosts():
        if host.name == dest:
            return None if host == present else _on_host(engine, summary, host, present)
    for datastore in inventory.datastores():
        if datastore.name == dest:
            there = _home(summary) == dest
            return None if there else _on_datastore(engine, summary, datastore, present)
    for cluster in inventory.clusters():
        if cluster.name == dest:
            there = summary.host in cluster.hosts
            return None if there else _in_cluster(engine, summary, cluster, present)
    raise HostNotFound(dest, [host.name for host in inventory.hosts()])


def way_back(session: Session, summary: VmSummary, note: ResizeNote) -> RelocateSpec | None:
    """The ``RelocateSpec`` that takes a machine back to where its resize began; None: it is there.

    A host that is out of service is not asked for: the pool's cluster chooses another one.
    """
    has_moved = summary.host != note.host or summary.pool != note.pool
    is_elsewhere = _home(summary) != note.datastore
    if not note.moves or not (has_moved or is_elsewhere):
        return None
    inventory = session.inventory
    usable = {host.moid: host for host in inventory.hosts() if _why_not(host) is None}
    host = usable.get(note.host)
    return relocation(
        host=host.moref if host and has_moved else None,
        pool=reference("ResourcePool", note.pool) if note.pool and has_moved else None,
        datastore=inventory.datastore(note.datastore).moref if is_elsewhere else None,
        staying=_foreign_disks(session, summary) if is_elsewhere else (),
        consolidate=is_elsewhere and not summary.has_snapshots,
    )


def _home(summary: VmSummary) -> str:
    try:
        return DatastorePath.parse(summary.hardware.files.vmx).datastore
    except InvalidName:
        return ""


def _on_host(
    engine: Engine, summary: VmSummary, host: HostInfo, present: HostInfo | None
) -> Destination:
    inventory = engine.session.inventory
    if (reason := _why_not(host)) is not None:
        raise MigrationPreCheckFailed(f"The host {host.name} {reason}.")
    missing = [
        network.name
        for network in inventory.networks()
        if network.moid in summary.networks and host.moid not in network.hosts
    ]
    if missing:
        raise MigrationPreCheckFailed(f"The host {host.name} has no network {', '.join(missing)}.")
    changes_cluster = present is None or present.cluster != host.cluster
    cluster = next(c for c in inventory.clusters() if c.moid == host.cluster)
    return Destination(
        host=host,
        cluster=cluster if changes_cluster else None,
        datastore=None if _mounts(engine, host, summary) else _datastore_of(engine, host, cluster),
    )


def _on_datastore(
    engine: Engine, summary: VmSummary, datastore: DatastoreInfo, present: HostInfo | None
) -> Destination:
    wanted = WantedSpace(settings=engine.settings, hosts=(), needed_bytes=0)
    for passes in FILTERS[1:4]:  # not by name, and by its mounts below
        if (reason := passes(datastore, wanted)) is not None:
            raise MigrationPreCheckFailed(f"The datastore {datastore.name}: {reason}.")
    mounts = datastore.hosts_read_write
    if present is not None and (not mounts or present.moid in mounts):
        return Destination(datastore=datastore)
    for host in engine.session.inventory.hosts():
        if host.moid in mounts and _why_not(host) is None:
            found = _on_host(engine, summary, host, present)
            return Destination(host=host, cluster=found.cluster, datastore=datastore)
    raise MigrationPreCheckFailed(f"No usable host has mounted {datastore.name}.")


def _in_cluster(
    engine: Engine, summary: VmSummary, cluster: ClusterInfo, present: HostInfo | None
) -> Destination:
    refused: MigrationPreCheckFailed | None = None
    for host in engine.session.inventory.hosts():
        if host.cluster == cluster.moid:
            try:
                return _on_host(engine, summary, host, present)
            except MigrationPreCheckFailed as why:
                refused = why
    raise refused or MigrationPreCheckFailed(f"The cluster {cluster.name} has no host.")


def _why_not(host: HostInfo) -> str | None:
    if not host.connected:
        return "is not connected"
    return "is in maintenance" if host.in_maintenance else None


def _mounts(engine: Engine, host: HostInfo, summary: VmSummary) -> bool:
    """Whether a host has all the datastores that a machine is on."""
    files = summary.hardware.files
    paths = [files.vmx, *(disk.file_name for disk in files.disks)]
    names = {DatastorePath.parse(path).datastore for path in paths}
    return all(
        not datastore.hosts_read_write or host.moid in datastore.hosts_read_write
        for datastore in engine.session.inventory.datastores()
        if datastore.name in names
    )


def _datastore_of(engine: Engine, host: HostInfo, cluster: ClusterInfo) -> DatastoreInfo:
    wanted = WantedSpace(settings=engine.settings, hosts=(host,), needed_bytes=0)
    there = [
        datastore
        for datastore in engine.session.inventory.datastores()
        if datastore.moid in cluster.datastores
        and not any(passes(datastore, wanted) for passes in FILTERS)
    ]
    if not there:
        raise MigrationPreCheckFailed(f"The host {host.name} has no datastore that can be used.")
    return roomiest(there, wanted.reserved)


def _foreign_disks(session: Session, summary: VmSummary) -> list[tuple[int, Any]]:
    """Volumes and disks of others, with their datastores: they stay where they are."""
    files = summary.hardware.files
    return [
        (disk.key, session.inventory.datastore(DatastorePath.parse(disk.file_name).datastore).moref)
        for disk in files.disks
        if is_foreign(files, disk)
    ]
