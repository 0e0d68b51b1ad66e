"""What has happened, as the event manager tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client, connect
from tests.lab.operations.relocation.places import hosts
from tests.lab.specs import new_disk, scsi
from vmops.lab import Lab, LabSettings

Filter = vim.event.EventFilterSpec


def about(entity: Any, recursion: str = "self", **fields: Any) -> vim.event.EventFilterSpec:
    return Filter(entity=Filter.ByEntity(entity=entity, recursion=recursion), **fields)


def kinds(client: Client, entity: Any, **fields: Any) -> list[str]:
    events = client.content.eventManager.QueryEvents(about(entity, **fields))
    return [type(each).__name__.rpartition(".")[2] for each in events]


def test_the_life_of_a_machine(client: Client, name: str) -> None:
    first, second = hosts(client)
    vm = client.create(name, scsi(), new_disk(), host=first)
    client.result(vm.PowerOnVM_Task())
    client.reconfigure(vm, annotation="noted")
    client.result(vm.MigrateVM_Task(None, second, "defaultPriority"))
    client.result(vm.SuspendVM_Task())
    client.result(vm.Rename_Task(f"{name}-2"))
    client.result(vm.PowerOffVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        client.result(vm.SuspendVM_Task())

    assert kinds(client, vm) == [
        "VmCreatedEvent",
        "VmPoweredOnEvent",
        "VmReconfiguredEvent",
        "VmMigratedEvent",
        "VmSuspendedEvent",
        "VmRenamedEvent",
        "VmPoweredOffEvent",
        "VmFailedToSuspendEvent",
    ]
    client.result(vm.Destroy_Task())
    latest = client.content.eventManager.latestEvent
    assert isinstance(latest, vim.event.VmRemovedEvent)
    assert latest.vm
    assert (latest.vm.vm, latest.vm.name) == (vm, f"{name}-2")


def test_what_an_event_says(client: Client, name: str) -> None:
    first, second = hosts(client)
    vm = client.create(name, host=first)
    client.reconfigure(vm, annotation="noted")
    client.result(vm.MigrateVM_Task(None, second, "defaultPriority"))
    manager = client.content.eventManager

    made, changed, moved = manager.QueryEvents(about(vm))

    assert made.userName == client.lab.username
    assert made.key < changed.key < moved.key
    assert made.createdTime.tzinfo is not None
    assert name in made.fullFormattedMessage
    assert made.datacenter.datacenter == client.datacenter
    assert made.computeResource.computeResource == client.compute
    assert (made.host.host, moved.host.host, moved.sourceHost.host) == (first, second, first)
    assert changed.configSpec.annotation == "noted"


def test_filters(client: Client, name: str) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())
    client.result(vm.PowerOffVM_Task())
    on, off = "VmPoweredOnEvent", "VmPoweredOffEvent"

    assert kinds(client, vm, type=[vim.event.VmPoweredOnEvent]) == [on]
    assert kinds(client, vm, eventTypeId=["vim.event.VmPoweredOffEvent"]) == [off]
    assert kinds(client, vm, maxCount=2) == [on, off]
    assert kinds(client, vm, userName=Filter.ByUsername(systemUser=False, userList=["x"])) == []
    last = client.content.eventManager.QueryEvents(about(vm))[-1]
    later = Filter.ByTime(beginTime=last.createdTime)
    assert kinds(client, vm, time=later) == [off]
    assert kinds(client, client.folder, recursion="all", maxCount=1) == [off]
    assert kinds(client, client.folder) == []


def test_a_guest_that_ends_by_itself_is_an_event(client: Client, name: str) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())

    client.lab.on_loop(lambda kernel: kernel.hypervisor.press_power_button(vm._moId))

    assert kinds(client, vm)[-1] == "VmPoweredOffEvent"


def test_a_collector_pages(client: Client, name: str) -> None:
    vm = client.create(name)
    manager = client.content.eventManager
    collector = manager.CreateCollectorForEvents(about(vm))

    [made] = collector.ReadNextEvents(10)
    assert isinstance(made, vim.event.VmCreatedEvent)
    assert collector.ReadNextEvents(10) == []
    client.result(vm.PowerOnVM_Task())
    [started] = collector.ReadNextEvents(10)
    assert isinstance(started, vim.event.VmPoweredOnEvent)
    assert [each.key for each in collector.latestPage] == [started.key, made.key]
    assert [each.key for each in collector.ReadPreviousEvents(10)] == [started.key, made.key]
    collector.DestroyCollector()
    with pytest.raises(Exception, match="deleted"):
        collector.ReadNextEvents(1)


def test_notes_of_clients(client: Client, name: str) -> None:
    vm = client.create(name)
    manager = client.content.eventManager
    manager.LogUserEvent(vm, "looked at it")

    [note] = manager.QueryEvents(about(vm, type=[vim.event.GeneralUserEvent]))
    assert note.message == "looked at it"


def test_what_is_found_again_at_a_start_is_no_event(tmp_path: Path, name: str) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        client = connect(lab)
        client.create(name)
        client.close()
    with Lab.run(settings) as lab:
        client = connect(lab)
        [vm] = client.folder.childEntity
        assert kinds(client, vm) == []
        client.close()
