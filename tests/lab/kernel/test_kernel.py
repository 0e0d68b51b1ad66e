"""The one door for changes, and what is behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.kernel.conftest import Client, of
from tests.lab.kernel.small_lab import Folder, Machine, SmallLab, machine
from vmops.lab.hypervisor.null import NullHypervisor
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.settings import LabSettings
from vmops.lab.storage.merging import LayerFiles


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(LabSettings(state_dir=tmp_path), NullHypervisor(LayerFiles()))


@pytest.fixture
def vm(kernel: Kernel) -> Machine:
    made = machine(kernel, "a")
    kernel.add(made)
    return made


def test_a_change_leaves_the_old_value_as_it_was(kernel: Kernel, vm: Machine) -> None:
    before = vm.properties["config"]
    kernel.update(vm, {"config.hardware.memoryMB": 7, "name": "b"})
    assert (before.hardware.memoryMB, before.name) == (512, "a")
    after = vm.properties["config"]
    assert (after.hardware.memoryMB, vm.properties["name"]) == (7, "b")
    assert after.hardware.device == before.hardware.device


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("name", 5, TypeError),
        ("config.hardware.memoryMB", "many", TypeError),
        ("config.hardware", vim.vm.FileInfo(), TypeError),
        ("nothing", "x", AttributeError),
        ("config.nothing", "x", AttributeError),
        ("guest.ipAddress", "x", TypeError),
        ("name.first", "x", TypeError),
    ],
)
def test_a_change_that_does_not_fit_is_refused(
    kernel: Kernel, vm: Machine, path: str, value: Any, error: type[Exception]
) -> None:
    heard: list[Any] = []
    kernel.on_change(lambda obj, paths: heard.append(paths))
    with pytest.raises(error):
        kernel.update(vm, {path: value})
    assert not heard
    assert vm.properties["name"] == "a"
    assert vm.properties["config"].hardware.memoryMB == 512


def test_listeners_hear_of_everything(kernel: Kernel) -> None:
    heard: list[tuple[str, Collection[str]]] = []
    kernel.on_change(lambda obj, paths: heard.append((obj.moid, set(paths))))
    folder = Folder(kernel, "group-1")
    folder.properties["name"] = "f"
    kernel.update(folder, {"name": "before it exists"})
    kernel.add(folder)
    kernel.update(folder, {"name": "g"})
    kernel.touch(folder, "recentTask")
    kernel.remove(folder)
    kernel.remove(folder)
    assert heard == [("group-1", {"name", "recentTask"}), ("group-1", {"name"}), ("group-1", set())]


def test_ids_are_new(kernel: Kernel, vm: Machine) -> None:
    assert vm.moid == "vm-1"
    kernel.add(Machine(kernel, "vm-2"))
    assert kernel.new_moid("vm") == "vm-3"
    with pytest.raises(ValueError, match="vm-1"):
        kernel.add(Machine(kernel, "vm-1"))


def test_finding(kernel: Kernel, vm: Machine) -> None:
    registry = kernel.registry
    assert registry.get("vm-1") is registry.get(vm.ref) is registry.find(vm.ref, Machine) is vm
    assert registry.get(vim.ManagedEntity("vm-1")) is vm
    assert registry.all(Machine) == [vm]
    assert registry.all(ManagedObject) == [vm]
    lookups: list[Callable[[], object]] = [
        lambda: registry.get("vm-9"),
        lambda: registry.get(vim.HostSystem("vm-1")),
        lambda: registry.find("vm-1", Folder),
    ]
    for lookup in lookups:
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            lookup()
    kernel.remove(vm)
    assert registry.all(Machine) == []


def test_services_are_known_by_class(kernel: Kernel, tmp_path: Path) -> None:
    kernel.provide(tmp_path)
    assert kernel.service(type(tmp_path)) is tmp_path
    with pytest.raises(KeyError):
        kernel.service(Folder)


def test_a_touched_property_is_told(client: Client, lab: SmallLab) -> None:
    manager = client.content.taskManager
    client.collector.CreateFilter(of(manager, "recentTask"), False)
    client.collector.CreateFilter(of(client.vm(1), "recentTask"), False)
    task = client.vm(1).PowerOn()
    update = client.collector.CheckForUpdates("")
    told = [[ref._moId for ref in each.objectSet[0].changeSet[0].val] for each in update.filterSet]
    assert told == [[task._moId]] * 2
