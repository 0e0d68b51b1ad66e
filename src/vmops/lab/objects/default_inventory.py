"""The objects every lab has, with ids that never change.

A vCenter has a datacenter with a cluster of two hosts; a single host (``esx``) has what ESXi
calls ``ha-…``.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

from pyVmomi import vim

from vmops.lab.inventory.distributed_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.network import Network
from vmops.lab.inventory.references import link
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.objects.compute_resource import ClusterComputeResource, ComputeResource
from vmops.lab.objects.datacenter import Datacenter
from vmops.lab.objects.datastore import Datastore
from vmops.lab.objects.datastore_browser import HostDatastoreBrowser
from vmops.lab.objects.environment_browser import EnvironmentBrowser
from vmops.lab.objects.extension_manager import ExtensionManager
from vmops.lab.objects.file_manager import FileManager
from vmops.lab.objects.folder import ROOT_CHILDREN, Folder
from vmops.lab.objects.resource_pool import ResourcePool
from vmops.lab.objects.search_index import SearchIndex
from vmops.lab.objects.virtual_disk_manager import VirtualDiskManager
from vmops.lab.storage.uuids import spaced_uuid
from vmops.lab.storage.volumes import Volumes

_NAMESPACE = UUID("6e3fb4f0-9b6f-4a53-9d1c-3b0c9d3c7d11")
_DVS_VERSION = "8.0.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ids:
    """The ids and names of one kind of lab."""

    root: str
    root_name: str
    datacenter: str
    datacenter_name: str
    folders: tuple[str, str, str, str]
    compute: str
    compute_name: str
    pool: str
    hosts: dict[str, str]
    datastores: dict[str, str]
    network: str
    managers: tuple[str, str, str]


_VCENTER = _Ids(
    root="group-d1",
    root_name="Datacenters",
    datacenter="datacenter-2",
    datacenter_name="DC0",
    folders=("group-v3", "group-h4", "group-s5", "group-n6"),
    compute="domain-c7",
    compute_name="cluster1",
    pool="resgroup-8",
    hosts={"host-9": "esx1.lab.local", "host-10": "esx2.lab.local"},
    datastores={"datastore-11": "datastore1", "datastore-12": "datastore2"},
    network="network-13",
    managers=("SearchIndex", "FileManager", "virtualDiskManager"),
)
_ESX = _Ids(
    root="ha-folder-root",
    root_name="ha-folder-root",
    datacenter="ha-datacenter",
    datacenter_name="ha-datacenter",
    folders=("ha-folder-vm", "ha-folder-host", "ha-folder-datastore", "ha-folder-network"),
    compute="ha-compute-res",
    compute_name="esx1.lab.local",
    pool="ha-root-pool",
    hosts={"ha-host": "esx1.lab.local"},
    datastores={"ha-datastore-1": "datastore1"},
    network="HaNetwork-1",
    managers=("ha-searchindex", "ha-nfc-file-manager", "ha-vdiskmanager"),
)
_SWITCH, _PORTGROUP = "dvs-14", "dvportgroup-15"


def add_default_inventory(kernel: Kernel) -> None:
    """Add the objects every lab has."""
    ids = _ESX if kernel.settings.esx else _VCENTER
    for cls, moid in zip((SearchIndex, FileManager, VirtualDiskManager), ids.managers, strict=True):
        kernel.add(cls(kernel, moid))
    root = Folder(kernel, ids.root, name=ids.root_name, parent=None, child_type=list(ROOT_CHILDREN))
    datacenter = Datacenter(
        kernel, ids.datacenter, name=ids.datacenter_name, parent=root.ref, folder_moids=ids.folders
    )
    for obj in (root, datacenter, *datacenter.children()):
        kernel.add(obj)
    root.add_child(datacenter)
    compute = _add_compute(kernel, ids, datacenter)
    _add_datastores(kernel, ids, datacenter, compute)
    _add_network(kernel, ids, datacenter, compute)
    if not kernel.settings.esx:
        kernel.add(ExtensionManager(kernel, "ExtensionManager"))
        _add_switch(kernel, datacenter, compute)


def _uuid(kernel: Kernel, name: str) -> str:
    return str(uuid5(_NAMESPACE, f"{kernel.settings.state_dir}/{name}"))


def _add_compute(kernel: Kernel, ids: _Ids, datacenter: Datacenter) -> ComputeResource:
    cls = ComputeResource if kernel.settings.esx else ClusterComputeResource
    browser = EnvironmentBrowser(
        kernel,
        f"envbrowser-{ids.compute}",
        compute_resource=cls.wire_type(ids.compute),
        browser=vim.host.DatastoreBrowser(f"datastoreBrowser-{ids.compute}"),
    )
    compute = cls(
        kernel,
        ids.compute,
        name=ids.compute_name,
        parent=datacenter.host_folder.ref,
        browser=browser.ref,
    )
    pool = ResourcePool(kernel, ids.pool, name="Resources", parent=compute.ref, owner=compute.ref)
    compute.properties["resourcePool"] = pool.ref
    _add_browser(kernel, compute)
    for obj in (browser, compute, pool):
        kernel.add(obj)
    datacenter.host_folder.add_child(compute)
    for moid, name in ids.hosts.items():
        host = HostSystem(
            kernel,
            moid,
            name=name,
            parent=compute.ref,
            uuid=_uuid(kernel, moid),
            browser=vim.host.DatastoreBrowser(f"datastoreBrowser-{moid}"),
            network_system_moid=f"networkSystem-{moid}",
        )
        _add_browser(kernel, host)
        kernel.add(host.network_system)
        kernel.add(host.storage_system)
        kernel.add(host)
        link(kernel, compute, "host", host.ref)
    return compute


def _add_browser(kernel: Kernel, holder: ManagedObject) -> None:
    kernel.add(
        HostDatastoreBrowser(
            kernel, f"datastoreBrowser-{holder.moid}", lambda: holder.properties["datastore"]
        )
    )


def _add_datastores(
    kernel: Kernel, ids: _Ids, datacenter: Datacenter, compute: ComputeResource
) -> None:
    volumes = kernel.service(Volumes)
    for moid, name in ids.datastores.items():
        root = kernel.settings.datastores_dir / name
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        volumes.add(name, root)
        datastore = Datastore(kernel, moid, name=name, parent=datacenter.datastore_folder.ref)
        datastore.add()
        datacenter.datastore_folder.add_child(datastore)
        for holder in (datacenter, compute, *compute.hosts()):
            link(kernel, holder, "datastore", datastore.ref)
        for host in compute.hosts():
            datastore.mount(host.ref)


def _add_network(
    kernel: Kernel, ids: _Ids, datacenter: Datacenter, compute: ComputeResource
) -> None:
    network = Network(
        kernel,
        ids.network,
        name="VM Network",
        parent=datacenter.network_folder.ref,
        nat=kernel.settings.esx,
    )
    kernel.add(network)
    datacenter.network_folder.add_child(network)
    link(kernel, datacenter, "network", network.ref)
    for host in compute.hosts():
        host.network_system.AddPortGroup(
            vim.host.PortGroup.Specification(
                name="VM Network", vlanId=0, vswitchName="vSwitch0", policy=vim.host.NetworkPolicy()
            )
        )


def _add_switch(kernel: Kernel, datacenter: Datacenter, compute: ComputeResource) -> None:
    folder = datacenter.network_folder
    hosts = compute.hosts()
    switch = DistributedVirtualSwitch(
        kernel,
        _SWITCH,
        name="dvs1",
        parent=folder.ref,
        uuid=spaced_uuid(_uuid(kernel, _SWITCH)),
        hosts=[host.ref for host in hosts],
        version=_DVS_VERSION,
    )
    group = DistributedVirtualPortgroup(
        kernel, _PORTGROUP, name="dv-net", parent=folder.ref, switch=switch, nat=True
    )
    for obj in (switch, group):
        kernel.add(obj)
        folder.add_child(obj)
    kernel.update(
        switch,
        {
            "portgroup": [group.ref],
            "summary.portgroupName": [group.name],
            "summary.numPorts": len(group.properties["portKeys"]),
            "config.numPorts": len(group.properties["portKeys"]),
        },
    )
    for holder in (datacenter, compute, *hosts):
        link(kernel, holder, "network", group.ref)
    for host in hosts:
        link(kernel, group, "host", host.ref)
