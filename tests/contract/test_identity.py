"""One rule says what is an instance of ours: no copy is, and a template is told as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Instance
from vmops.errors import InvalidState, VolumeNotFound
from vmops.model.block_devices import VolumeKind
from vmops.ops.instances import recovery
from vmops.ops.instances.listing import get_record, list_records
from vmops.ops.instances.unmerged import find_unmerged
from vmops.ops.volumes.made import WantedVolume, find_volume

pytestmark = needs(Capability.CONTROL, Capability.VCENTER)


def copy_of(bench: Bench, vm: Any, name: str) -> Any:
    """A copy that an administrator makes, with more processors than the original."""
    pool = second_view.properties(vm, "resourcePool", "parent")
    where = vim.vm.RelocateSpec(pool=pool["resourcePool"])
    config = vim.vm.ConfigSpec(numCPUs=4)
    spec = vim.vm.CloneSpec(location=where, powerOn=False, template=False, config=config)
    return second_view.finished(vm.CloneVM_Task(pool["parent"], name, spec))


def marked(vm: Any, **marks: str) -> None:
    options = [vim.option.OptionValue(key=k.replace("_", "."), value=v) for k, v in marks.items()]
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=options)))


@pytest.fixture
def copied(bench: Bench) -> Any:
    """An instance, and a copy of it."""
    instance = bench.spawn(power_on=False)
    copy = copy_of(bench, bench.vm(instance), f"copy of {instance.name}")
    told = second_view.extra_config(copy)
    assert told["nvp.vm-uuid"] == instance.uuid  # which a copy takes along
    yield instance, copy
    second_view.finished(copy.Destroy_Task())


def test_a_copy_is_no_instance(bench: Bench, copied: tuple[Instance, Any]) -> None:
    instance, copy = copied
    assert bench.ops.list_instances().count(instance.uuid) == 1
    assert [r.name for r in list_records(bench.session) if r.uuid == instance.uuid] == [
        instance.name
    ]
    assert get_record(bench.session, instance.uuid).cpus == 1
    bench.ops.destroy(instance, None)
    assert instance.uuid not in bench.ops.list_instances()
    assert second_view.properties(copy, "config.hardware.numCPU")["config.hardware.numCPU"] == 4


def test_what_the_original_was_in_the_middle_of_is_not_the_copys(
    bench: Bench, copied: tuple[Instance, Any]
) -> None:
    _, copy = copied
    gone = "spawn 000000000000-000000000000-0-0 1"
    marked(copy, vmops_operation=gone, vmops_worker=gone)
    name = second_view.properties(copy, "name")["name"]
    found = recovery.find_work(bench.session, bench.settings)
    assert [each for each in found if name in each.name] == []
    assert [each for each, _ in find_unmerged(bench.session)] == []


def test_a_copy_of_a_volumes_machine_is_no_volume(bench: Bench) -> None:
    wanted = WantedVolume(name=f"data {a_uuid()[:8]}", size_bytes=1 << 20, kind=VolumeKind.VMDK)
    made = bench.ops.create_volume(wanted)
    shadow = second_view.vm_of(bench.content, made.volume.id)
    copy = copy_of(bench, shadow, f"copy of {wanted.name}")
    try:
        assert find_volume(bench.session, made.volume.id).path == made.path
        bench.ops.delete_volume(made.volume.id)
        with pytest.raises(VolumeNotFound):
            find_volume(bench.session, made.volume.id)
        assert second_view.devices(copy, vim.vm.device.VirtualDisk)
    finally:
        second_view.finished(copy.Destroy_Task())


def test_a_template_is_told_and_kept(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)
    vm.MarkAsTemplate()
    try:
        bench.session.inventory.wait_fresh()
        assert instance.uuid not in bench.ops.list_instances()
        assert get_record(bench.session, instance.uuid).status == "template"
        changes: list[Callable[[], object]] = [
            lambda: bench.ops.destroy(instance, None),
            lambda: bench.ops.power_on(None, instance),
            lambda: bench.ops.suspend(instance),
        ]
        for change in changes:
            with pytest.raises(InvalidState, match="template"):
                change()
        assert second_view.properties(vm, "config.template")["config.template"] is True
    finally:
        (pool,) = second_view.every(bench.content, vim.ResourcePool, "name")
        vm.MarkAsVirtualMachine(pool=pool)
    bench.ops.destroy(instance, None)
    assert instance.uuid not in [record.uuid for record in list_records(bench.session)]
