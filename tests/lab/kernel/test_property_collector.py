"""Reading through the property collector."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.kernel.conftest import PC, Client, of
from tests.lab.kernel.small_lab import SmallLab, add_machine, remove_machine


def names(contents: list[Any]) -> list[str]:
    return [content.propSet[0].val for content in contents]


def test_nested_and_keyed_paths(client: Client) -> None:
    values = client.read(
        client.vm(1),
        "name",
        "config.hardware.memoryMB",
        "runtime.powerState",
        'config.extraConfig["k.one"]',
        'config.extraConfig["k.one"].value',
        'config.extraConfig["no such key"].value',
        "config.hardware.device[2000]",
        "config.hardware.device[2000].backing.fileName",
        "config.hardware.device[2000].capacityInKB",
        "config.hardware.device",
        "layoutEx.file",
        "guest.ipAddress",
    )
    option = values.pop('config.extraConfig["k.one"]')
    disk = values.pop("config.hardware.device[2000]")
    devices = values.pop("config.hardware.device")
    assert values == {
        "name": "vm0",
        "config.hardware.memoryMB": 512,
        "runtime.powerState": "poweredOff",
        'config.extraConfig["k.one"].value': "1 < 2 & 3",
        "config.hardware.device[2000].backing.fileName": "[ds] vm0/vm0.vmdk",
        "config.hardware.device[2000].capacityInKB": 1024,
    }
    assert (option.key, option.value) == ("k.one", "1 < 2 & 3")
    assert isinstance(disk, vim.vm.device.VirtualDisk)
    assert isinstance(devices, vim.vm.device.VirtualDevice.Array)


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "config.nothing",
        "config.hardware.device.key",
        "config.hardware[1]",
        "name.x",
        "config.",
        ".config",
        "config..name",
        "config.extraConfig[",
        "",
        "config.hardware.device[2000].backing.nothing",
    ],
)
def test_a_path_that_leads_nowhere_is_a_fault(client: Client, path: str) -> None:
    with pytest.raises(vmodl.query.InvalidProperty) as raised:
        client.read(client.vm(1), path)
    assert raised.value.name == path


def test_all_properties_at_once(client: Client) -> None:
    spec = of(client.vm(1))
    spec.propSet[0].all = True
    (content,) = client.collector.RetrieveContents([spec])
    found = {each.name for each in content.propSet}
    assert {"name", "runtime", "config", "parent"} <= found
    assert "layoutEx" not in found


def test_an_object_that_is_not_there(client: Client) -> None:
    spec = of(client.vm(99), "name")
    with pytest.raises(vmodl.fault.ManagedObjectNotFound) as raised:
        client.collector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
    assert raised.value.obj._moId == "vm-99"
    spec.reportMissingObjectsInResults = True
    assert client.collector.RetrievePropertiesEx([spec], PC.RetrieveOptions()) is None


def test_a_recursive_traversal_by_name(client: Client) -> None:
    folder = PC.TraversalSpec(
        name="folders",
        type=vim.Folder,
        path="childEntity",
        skip=False,
        selectSet=[PC.SelectionSpec(name="folders")],
    )
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=client.content.rootFolder, skip=False, selectSet=[folder])],
        propSet=[PC.PropertySpec(type=vim.ManagedEntity, pathSet=["name"])],
    )
    contents = client.collector.RetrieveContents([spec])
    assert names(contents) == ["Datacenters", "vm", "vm0", "vm1", "vm2"]
    spec.objectSet[0].skip = True
    spec.propSet[0].type = vim.Folder
    assert names(client.collector.RetrieveContents([spec])) == ["vm"]


def test_a_selection_that_is_not_named_anywhere(client: Client) -> None:
    spec = of(client.content.rootFolder, "name")
    spec.objectSet[0].selectSet = [PC.SelectionSpec(name="nobody")]
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.collector.RetrieveContents([spec])


def test_the_property_specs_of_a_type_and_its_base_add_up(client: Client) -> None:
    spec = of(client.vm(1), "name")
    spec.propSet.append(PC.PropertySpec(type=vim.ManagedEntity, pathSet=["parent", "name"]))
    (content,) = client.collector.RetrieveContents([spec])
    assert sorted(each.name for each in content.propSet) == ["name", "parent"]


def test_pages(client: Client, lab: SmallLab) -> None:
    spec = client.all_vms("name")
    collector = client.collector
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=1))
    assert names(page.objects) == ["vm0"]
    second = collector.ContinueRetrievePropertiesEx(page.token)
    assert names(second.objects) == ["vm1"]
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(page.token)
    third = collector.ContinueRetrievePropertiesEx(second.token)
    assert (names(third.objects), third.token) == (["vm2"], None)


def test_a_page_shows_things_as_they_are_when_it_is_read(client: Client, lab: SmallLab) -> None:
    collector = client.collector
    spec = client.all_vms("name")
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=1))
    lab.on_loop(lambda kernel: remove_machine(kernel, "vm-2"))
    lab.on_loop(lambda kernel: kernel.update(kernel.registry.get("vm-3"), {"name": "new"}))
    assert names(collector.ContinueRetrievePropertiesEx(page.token).objects) == ["new"]


def test_pages_can_be_given_up(client: Client) -> None:
    collector = client.collector
    page = collector.RetrievePropertiesEx(
        [client.all_vms("name")], PC.RetrieveOptions(maxObjects=1)
    )
    collector.CancelRetrievePropertiesEx(page.token)
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(page.token)


@pytest.mark.parametrize("size", [0, -1])
def test_a_page_has_at_least_one_object(client: Client, size: int) -> None:
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.collector.RetrievePropertiesEx(
            [client.all_vms("name")], PC.RetrieveOptions(maxObjects=size)
        )


def test_a_container_view_follows_the_inventory(client: Client, lab: SmallLab) -> None:
    spec = client.all_vms("name")
    assert names(client.collector.RetrieveContents([spec])) == ["vm0", "vm1", "vm2"]
    lab.on_loop(lambda kernel: add_machine(kernel, "vm3"))
    lab.on_loop(lambda kernel: remove_machine(kernel, "vm-1"))
    assert names(client.collector.RetrieveContents([spec])) == ["vm1", "vm2", "vm3"]


def test_a_container_view_that_is_not_recursive(client: Client) -> None:
    views = client.content.viewManager
    view = views.CreateContainerView(client.content.rootFolder, [], False)
    assert [each._moId for each in client.read(view, "view")["view"]] == ["group-v3"]
    with pytest.raises(vmodl.fault.InvalidArgument):
        views.CreateContainerView(client.vm(1), [], True)


def test_list_views(client: Client) -> None:
    views = client.content.viewManager
    view = views.CreateListView([client.vm(1), client.vm(99)])
    unresolved = view.ModifyListView([client.vm(2), client.vm(98)], [client.vm(1)])
    assert [each._moId for each in unresolved] == ["vm-98"]
    assert [each._moId for each in client.read(view, "view")["view"]] == ["vm-2"]
    assert view.ResetListView([client.vm(3)]) == []
    assert [each._moId for each in client.read(view, "view")["view"]] == ["vm-3"]
    view.Destroy()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        client.read(view, "view")


def test_numbers_keep_their_declared_type_inside_any(client: Client, lab: SmallLab) -> None:
    disk = vim.vm.device.VirtualDisk(key=2000, capacityInKB=4, capacityInBytes=2**40)
    lab.on_loop(
        lambda kernel: kernel.update(
            kernel.registry.get("vm-1"), {"config.hardware.device": [disk]}
        )
    )
    path = "config.hardware.device[2000].capacityInBytes"
    value = client.read(client.vm(1), path)[path]
    assert value == 2**40
    assert type(value).__name__ == "long"
    state = client.read(client.vm(1), "runtime.powerState")["runtime.powerState"]
    assert isinstance(state, vim.VirtualMachine.PowerState)
