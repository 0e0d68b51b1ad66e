"""Folders of the inventory for new machines, and the extension that manages them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Instance
from vmops.errors import DuplicateName
from vmops.ops.engine.settings import EngineSettings

EXTENSION = "org.vmops.test"


@pytest.fixture
def top() -> str:
    """The name of a folder that no other test makes."""
    return f"vmops-test-{a_uuid()[:13]}"


@pytest.fixture(autouse=True)
def _no_folders(bench: Bench, top: str) -> Iterator[None]:
    """Without the test's folder afterwards."""
    yield
    bench.backend.clean()
    for folder in folders(bench, top):
        with suppress(vmodl.fault.ManagedObjectNotFound):
            second_view.finished(folder.Destroy_Task())
    if (extensions := bench.content.extensionManager) is not None:
        with suppress(vim.fault.NotFound, vmodl.fault.MethodNotFound):
            extensions.UnregisterExtension(EXTENSION)


def of_project(project: str) -> Instance:
    given = an_instance()
    return Instance(uuid=given.uuid, name=given.name, flavor=given.flavor, project_id=project)


def path(bench: Bench, instance: Instance | str) -> list[str]:
    """The names of the folders that a VM is in, the datacenter's own first."""
    names: list[str] = []
    at = second_view.properties(bench.vm(instance), "parent")["parent"]
    while isinstance(at, vim.Folder):
        found = second_view.properties(at, "name", "parent")
        names.insert(0, found["name"])
        at = found["parent"]
    return names


def folders(bench: Bench, name: str) -> list[Any]:
    every = second_view.every(bench.content, vim.Folder, "name")
    return [folder for folder, found in every.items() if found["name"] == name]


def test_by_default_it_is_in_the_datacenters_own(bench: Bench) -> None:
    assert path(bench, bench.spawn(instance=of_project("p-1"), power_on=False)) == ["vm"]


@needs(Capability.VCENTER)
def test_a_project_has_a_folder_of_its_own(bench: Bench, top: str) -> None:
    ops = bench.engine(vm_folder=top, project_folders=True)
    first, second, other = of_project("p-1"), of_project("p-1"), of_project("p-2")
    for instance in (first, second, other):
        bench.spawn(instance=instance, ops=ops, power_on=False)
    assert path(bench, first) == ["vm", top, "OpenStack", "Project (p-1)", "Instances"]
    assert path(bench, second) == path(bench, first)
    assert path(bench, other) == ["vm", top, "OpenStack", "Project (p-2)", "Instances"]
    assert len(folders(bench, top)) == 1


@needs(Capability.VCENTER)
def test_the_project_may_be_the_requests(bench: Bench, top: str) -> None:
    ops = bench.engine(vm_folder=f"{top}/a", project_folders=True)
    instance = {"uuid": a_uuid(), "name": "vmops-test-x", "vcpus": 1, "memory_mb": 16}
    ops.spawn({"project_id": "p-9"}, instance, "flat", None, power_on=False)
    below = [top, "a", "OpenStack", "Project (p-9)", "Instances"]
    assert path(bench, str(instance["uuid"])) == ["vm", *below]


def test_a_single_esxi_has_no_folders(bench: Bench, top: str) -> None:
    if Capability.VCENTER not in bench.backend.lacks:
        pytest.skip("it is a vCenter")
    ops = bench.engine(vm_folder=top, project_folders=True)
    instance = bench.spawn(instance=of_project("p-1"), ops=ops, power_on=False)
    assert path(bench, instance) == ["vm"]


@needs(Capability.VCENTER)
def test_a_name_cannot_leave_its_level(bench: Bench, top: str) -> None:
    ops = bench.engine(vm_folder=top, project_folders=True)
    instance = bench.spawn(instance=of_project("../a/b%"), ops=ops, power_on=False)
    found = path(bench, instance)
    assert len(found) == 5
    assert found[3] in {"Project (..%2fa%2fb%25)", "Project (../a/b%)"}


@needs(Capability.VCENTER)
def test_five_at_once_make_each_level_once(bench: Bench, top: str) -> None:
    ops = bench.engine(vm_folder=top, project_folders=True)
    bench.spawn(power_on=False)  # the image is there afterwards
    instances = [of_project("p-1") for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        for done in [
            pool.submit(bench.spawn, instance=each, ops=ops, power_on=False) for each in instances
        ]:
            done.result()
    for level in (top, "Project (p-1)"):
        assert len(folders(bench, level)) == 1
    assert {tuple(path(bench, each))[-1] for each in instances} == {"Instances"}


@needs(Capability.VCENTER, Capability.UNIQUE_NAMES)
def test_engines_that_know_nothing_of_each_other_share_what_is_there(
    bench: Bench, top: str
) -> None:
    bench.spawn(power_on=False)
    sessions = [bench.backend.connect() for _ in range(3)]
    try:
        for session in sessions:
            session.inventory.wait_fresh()
        engines = [
            bench.engine(vm_folder=top, project_folders=True, session=session)
            for session in sessions
        ]
        with ThreadPoolExecutor(3) as pool:
            for done in [
                pool.submit(bench.spawn, instance=of_project("p-1"), ops=ops, power_on=False)
                for ops in engines
            ]:
                done.result()
    finally:
        for session in sessions:
            session.close()
    assert len(folders(bench, "Project (p-1)")) == 1


@needs(Capability.VCENTER, Capability.REMOVED_FOLDERS)
def test_a_folder_that_somebody_removed_is_made_again(bench: Bench, top: str) -> None:
    ops = bench.engine(vm_folder=top, project_folders=True)
    first = bench.spawn(instance=of_project("p-1"), ops=ops, power_on=False)
    ops.destroy(first, None)
    (folder,) = folders(bench, top)
    second_view.finished(folder.Destroy_Task())
    second = bench.spawn(instance=of_project("p-1"), ops=ops, power_on=False)
    assert path(bench, second) == ["vm", top, "OpenStack", "Project (p-1)", "Instances"]


@needs(Capability.VCENTER, Capability.UNIQUE_NAMES)
def test_a_machine_with_the_name_of_a_level_is_an_error(bench: Bench, top: str) -> None:
    instance = bench.spawn(
        instance=Instance(uuid=a_uuid(), name=top, flavor=an_instance().flavor), power_on=False
    )
    before = bench.world()
    with pytest.raises(DuplicateName, match=top):
        bench.spawn(ops=bench.engine(vm_folder=top))
    assert bench.world() == before
    assert bench.vm(instance) is not None


@needs(Capability.VCENTER, Capability.COUNTED_CALLS)
def test_folders_that_are_there_cost_no_call(bench: Bench, top: str) -> None:
    ops = bench.engine(vm_folder=top, project_folders=True)
    bench.spawn(instance=of_project("p-1"), ops=ops)
    plain = bench.calls_of(lambda: bench.spawn(instance=of_project("p-1")))
    again = bench.calls_of(lambda: bench.spawn(instance=of_project("p-1"), ops=ops))
    assert again == plain


# The extension


def managed_by(bench: Bench, instance: Instance) -> Any:
    return second_view.properties(bench.vm(instance), "config.managedBy").get("config.managedBy")


def test_by_default_no_extension_manages_it(bench: Bench) -> None:
    assert EngineSettings().managed_by == ""
    assert managed_by(bench, bench.spawn(power_on=False)) is None


def test_the_settings_extension_manages_it(bench: Bench) -> None:
    instance = bench.spawn(ops=bench.engine(managed_by=EXTENSION), power_on=False)
    found = managed_by(bench, instance)
    assert (found.extensionKey, found.type) == (EXTENSION, "instance")


@needs(Capability.VCENTER, Capability.EXTENSIONS)
def test_the_extension_is_registered_once(bench: Bench) -> None:
    manager = bench.content.extensionManager
    assert manager.FindExtension(EXTENSION) is None
    for ops in (bench.engine(managed_by=EXTENSION), bench.engine(managed_by=EXTENSION)):
        bench.spawn(ops=ops, power_on=False)
        assert manager.FindExtension(EXTENSION).key == EXTENSION


@needs(Capability.VCENTER, Capability.COUNTED_CALLS)
def test_five_at_once_register_it_once_and_later_ones_ask_nothing(bench: Bench) -> None:
    ops = bench.engine(managed_by=EXTENSION)
    bench.spawn()
    bench.backend.forget_calls()
    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(bench.spawn, ops=ops, power_on=False) for _ in range(5)]:
            done.result()
    calls = bench.backend.calls()
    assert (calls["FindExtension"], calls["RegisterExtension"]) == (1, 1)


def test_instances_that_an_extension_manages_are_listed_and_foreign_ones_are_not(
    bench: Bench,
) -> None:
    instance = bench.spawn(ops=bench.engine(managed_by=EXTENSION), power_on=False)
    assert bench.ops.list_instances() == [instance.uuid]
