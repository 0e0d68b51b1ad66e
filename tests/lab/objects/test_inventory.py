"""The inventory: what every lab has, and how it is found and arranged."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.specs import standard_nic


def all_objects(client: Client, wire_type: type[Any], paths: list[str]) -> list[dict[str, Any]]:
    view = client.content.viewManager.CreateContainerView(
        client.content.rootFolder, [wire_type], True
    )
    query = vmodl.query.PropertyCollector
    found = client.content.propertyCollector.RetrievePropertiesEx(
        [
            query.FilterSpec(
                propSet=[query.PropertySpec(type=wire_type, pathSet=paths, all=not paths)],
                objectSet=[
                    query.ObjectSpec(
                        obj=view,
                        skip=True,
                        selectSet=[query.TraversalSpec(type=vim.view.ContainerView, path="view")],
                    )
                ],
            )
        ],
        query.RetrieveOptions(),
    )
    view.DestroyView()
    for each in found.objects:
        assert not each.missingSet
    return [{prop.name: prop.val for prop in each.propSet} for each in found.objects]


def test_a_vcenter(client: Client) -> None:
    root = client.content.rootFolder
    assert (root._moId, root.name, root.parent) == ("group-d1", "Datacenters", None)
    assert client.content.about.apiType == "VirtualCenter"
    assert client.datacenter.name == "DC0"
    assert isinstance(client.compute, vim.ClusterComputeResource)
    assert client.compute.name == "cluster1"
    assert [each.name for each in client.compute.host] == ["esx1.lab.local", "esx2.lab.local"]
    assert client.pool.name == "Resources"
    assert client.pool.owner == client.compute
    for host in client.compute.host:
        assert [each.name for each in host.datastore] == ["datastore1", "datastore2"]
        assert [each.name for each in host.network] == ["VM Network", "dv-net"]
    for datastore in client.datacenter.datastore:
        assert [each.key for each in datastore.host] == list(client.compute.host)
        assert datastore.summary.multipleHostAccess
    assert {each.name for each in client.datacenter.networkFolder.childEntity} == {
        "VM Network",
        "dvs1",
        "dv-net",
    }
    assert client.network("dv-net").config.distributedVirtualSwitch.name == "dvs1"


def test_a_single_host(esx: Client) -> None:
    assert esx.content.about.apiType == "HostAgent"
    assert esx.content.rootFolder._moId == "ha-folder-root"
    assert (esx.datacenter._moId, esx.datacenter.name) == ("ha-datacenter", "ha-datacenter")
    assert (esx.compute._moId, type(esx.compute)) == ("ha-compute-res", vim.ComputeResource)
    assert [each._moId for each in esx.compute.host] == ["ha-host"]
    assert esx.pool._moId == "ha-root-pool"
    assert [each.name for each in esx.datacenter.network] == ["VM Network"]
    assert [each.name for each in esx.datacenter.datastore] == ["datastore1"]


@pytest.mark.parametrize("kind", ["client", "esx"])
def test_every_property_of_every_object_can_be_read(
    request: pytest.FixtureRequest, kind: str, name: str
) -> None:
    client = request.getfixturevalue(kind)
    client.create(name, standard_nic())

    for wire_type in (vim.ManagedEntity, vim.VirtualMachine, vim.HostSystem):
        assert all_objects(client, wire_type, [])


def test_what_schedulers_read_is_there(client: Client) -> None:
    [cluster] = all_objects(
        client, vim.ClusterComputeResource, ["summary", "host", "datastore", "resourcePool"]
    )
    assert cluster["summary"].numHosts == 2
    hosts = all_objects(
        client,
        vim.HostSystem,
        [
            "summary.hardware.numCpuThreads",
            "summary.hardware.memorySize",
            "summary.quickStats.overallMemoryUsage",
            "runtime.connectionState",
            "runtime.inMaintenanceMode",
            "config.network.pnic",
            "config.network.vswitch",
        ],
    )
    assert len(hosts) == 2
    for host in hosts:
        assert len(host) == 7
        assert host["summary.hardware.memorySize"] > 2**26
        [switch] = host["config.network.vswitch"]
        assert switch.pnic == [host["config.network.pnic"][0].key]


def test_search(client: Client, name: str) -> None:
    search = client.content.searchIndex
    uuid = "12345678-aaaa-4000-8000-0123456789ab"
    bios = "abcdefab-aaaa-4000-8000-0123456789ab"
    vm = client.create(name, instanceUuid=uuid, uuid=bios)
    datacenter = client.datacenter

    assert list(search.FindAllByUuid(None, uuid.upper(), True, True)) == [vm]
    assert search.FindByUuid(datacenter, bios, True, False) == vm
    assert list(search.FindAllByUuid(None, bios, True, True)) == []
    assert search.FindByUuid(None, bios, True, True) is None
    host = client.compute.host[0]
    assert search.FindByUuid(None, host.hardware.systemInfo.uuid, False, False) == host
    assert search.FindByInventoryPath(f"DC0/vm/{name}") == vm
    assert search.FindByInventoryPath(f"/DC0/vm/{name}/") == vm
    assert search.FindByInventoryPath("DC0/host/cluster1/esx1.lab.local") == host
    assert search.FindByInventoryPath("DC0/host/cluster1/Resources") == client.pool
    assert search.FindByInventoryPath("DC0/vm/no such") is None
    assert search.FindChild(client.folder, name) == vm
    assert search.FindByDatastorePath(datacenter, f"[datastore1] {name}/{name}.vmx") == vm
    assert search.FindByDatastorePath(datacenter, "[datastore1] x") is None
    assert search.FindByIp(None, "192.0.2.1", True) is None
    assert search.FindByDnsName(None, "ESX1.lab.local", False) == host
    with pytest.raises(vmodl.fault.InvalidArgument):
        search.FindByUuid(None, "no uuid", True, True)


def test_folders_hold_move_and_refuse(client: Client, name: str) -> None:
    outer = client.folder.CreateFolder(name)
    inner = outer.CreateFolder("in/ner")
    vm = client.create(name + "-vm")

    assert inner.name == "in%2fner"
    with pytest.raises(vim.fault.DuplicateName) as caught:
        client.folder.CreateFolder(name)
    assert caught.value.object == outer
    client.result(inner.MoveIntoFolder_Task([vm]))
    assert (vm.parent, list(inner.childEntity)) == (inner, [vm])
    assert vm not in client.folder.childEntity
    with pytest.raises(vim.fault.InvalidFolder):
        client.result(inner.MoveIntoFolder_Task([outer]))
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.result(inner.MoveIntoFolder_Task([client.compute]))
    second = client.create(name + "-vm")
    with pytest.raises(vim.fault.DuplicateName):
        client.result(inner.MoveIntoFolder_Task([second]))
    assert second.parent == client.folder


def test_pools_nest_and_give_back(client: Client, name: str) -> None:
    spec = client.pool.config
    outer = client.pool.CreateResourcePool(name, spec)
    inner = outer.CreateResourcePool("inner", spec)
    vm = client.create(name, pool=inner)

    assert (vm.resourcePool, list(inner.vm)) == (inner, [vm])
    assert inner.owner == client.compute
    client.result(inner.Destroy_Task())
    assert vm.resourcePool == outer
    outer.UpdateConfig(name + "-2", None)
    assert outer.name == outer.summary.name == name + "-2"
    client.pool.MoveIntoResourcePool([vm])
    assert vm in client.pool.vm
    client.result(outer.Destroy_Task())
    assert outer not in client.pool.resourcePool
    with pytest.raises(vmodl.fault.NotSupported):
        client.result(client.pool.Destroy_Task())


def portgroup_spec(
    name: str, switch: str = "vSwitch0", vlan: int = 0
) -> vim.host.PortGroup.Specification:
    return vim.host.PortGroup.Specification(
        name=name, vlanId=vlan, vswitchName=switch, policy=vim.host.NetworkPolicy()
    )


def test_port_groups_of_hosts_are_networks(client: Client, name: str) -> None:
    first, second = (host.configManager.networkSystem for host in client.compute.host)

    first.AddPortGroup(portgroup_spec(name, vlan=7))
    network = client.network(name)
    assert list(network.host) == [client.compute.host[0]]
    second.AddPortGroup(portgroup_spec(name, vlan=7))
    assert len(network.host) == 2
    with pytest.raises(vim.fault.AlreadyExists):
        first.AddPortGroup(portgroup_spec(name))
    with pytest.raises(vim.fault.NotFound):
        first.AddPortGroup(portgroup_spec(name + "2", switch="none"))
    with pytest.raises(vmodl.fault.InvalidArgument):
        first.AddPortGroup(portgroup_spec(name + "2", vlan=5000))
    vm = client.create(name, standard_nic(name), host=client.compute.host[0])
    with pytest.raises(vim.fault.ResourceInUse):
        first.RemovePortGroup(name)
    second.RemovePortGroup(name)
    client.result(vm.Destroy_Task())
    first.RemovePortGroup(name)
    assert all(each.name != name for each in client.datacenter.network)
    assert all(each.name != name for each in client.compute.network)
    with pytest.raises(vim.fault.NotFound):
        first.RemovePortGroup(name)


def test_what_machines_can_be_like(client: Client) -> None:
    browser = client.compute.environmentBrowser
    option = browser.QueryConfigOption(None, None)
    guests = {each.id: each for each in option.guestOSDescriptor}
    assert option.version == "vmx-21"
    assert "otherLinux64Guest" in guests
    assert guests["otherLinux64Guest"].fullName == "Other Linux (64-bit)"
    assert browser.QueryConfigOption("vmx-13", None).hardwareOptions.hwVersion == 13
    spec = vim.EnvironmentBrowser.ConfigOptionQuerySpec(key="vmx-19", guestId=["ubuntu64Guest"])
    assert [each.id for each in browser.QueryConfigOptionEx(spec).guestOSDescriptor] == [
        "ubuntu64Guest"
    ]
    with pytest.raises(vmodl.fault.InvalidArgument):
        browser.QueryConfigOption("vmx-1", None)
    target = browser.QueryConfigTarget(None)
    assert "VM Network" in [each.network.name for each in target.network]
    assert [each.portgroupName for each in target.distributedVirtualPortgroup] == ["dv-net"]
    assert [each.datastore.name for each in target.datastore] == ["datastore1", "datastore2"]
    assert len(browser.QueryConfigOptionDescriptor()) > 10


def test_what_the_lab_cannot_do_it_says(client: Client, name: str) -> None:
    vm = client.create(name)

    with pytest.raises(vmodl.fault.NotSupported):
        vm.CreateSecondaryVM_Task()
    with pytest.raises(vmodl.fault.NotSupported):
        client.compute.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(), True)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        client.create("x", pool=vim.ResourcePool("resgroup-99", client.stub))
