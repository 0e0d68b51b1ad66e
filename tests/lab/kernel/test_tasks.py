"""Tasks on the wire and in the kernel."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import message
from tests.lab.kernel.conftest import Client
from tests.lab.kernel.small_lab import SmallLab, small_lab
from vmops.lab.kernel.task import Tasks


def test_a_task_from_start_to_end(client: Client) -> None:
    task = client.vm(1).PowerOn()
    info = client.wait_for(task)
    assert (info.state, info.error, info.progress) == ("success", None, None)
    assert info.queueTime <= info.startTime <= info.completeTime
    assert info.descriptionId == "VirtualMachine.powerOn"
    assert info.name.info.wsdlName == "PowerOnVM_Task"
    assert (info.entity._moId, info.entityName) == ("vm-1", "vm0")
    assert info.reason.userName == "administrator@vsphere.local"
    assert client.read(client.vm(1), "runtime.powerState") == {"runtime.powerState": "poweredOn"}


def test_a_task_that_fails(client: Client) -> None:
    client.wait_for(client.vm(1).PowerOn())
    info = client.wait_for(client.vm(1).PowerOn())
    assert info.state == "error"
    assert isinstance(info.error, vim.fault.InvalidPowerState)
    assert info.error.existingState == "poweredOn"
    assert "poweredOn" in message(info.error)


def test_a_task_that_breaks_tells_nothing_of_its_inside(client: Client) -> None:
    info = client.wait_for(client.vm(1).Suspend())
    assert isinstance(info.error, vmodl.fault.SystemError)
    assert "42" not in message(info.error) + info.error.reason


def test_a_task_can_be_cancelled(client: Client) -> None:
    task = client.vm(1).ResetVM_Task()
    task.Cancel()
    info = client.wait_for(task)
    assert (info.state, info.cancelled) == ("error", True)
    assert isinstance(info.error, vmodl.fault.RequestCanceled)
    with pytest.raises(vim.fault.InvalidState):
        task.Cancel()


def test_recent_tasks(client: Client) -> None:
    first, second = client.vm(1).PowerOn(), client.vm(2).PowerOn()
    client.wait_for(first)
    client.wait_for(second)
    recent = client.read(client.content.taskManager, "recentTask")["recentTask"]
    assert [each._moId for each in recent] == [first._moId, second._moId]
    mine = client.read(client.vm(2), "recentTask")["recentTask"]
    assert [each._moId for each in mine] == [second._moId]


def test_a_delay_makes_every_task_watchable(tmp_path: Path) -> None:
    with small_lab(tmp_path, task_delay_s=0.3) as lab:
        client = Client(lab)
        started = time.monotonic()
        task = client.vm(1).PowerOn()
        assert time.monotonic() - started < 0.25
        assert client.read(task, "info.state")["info.state"] in ("queued", "running")
        client.wait_for(task)
        assert time.monotonic() - started >= 0.3
        client.drop()


def test_a_lab_that_stops_ends_its_tasks(tmp_path: Path) -> None:
    with small_lab(tmp_path) as lab:
        client = Client(lab)
        task = client.vm(1).ResetVM_Task()
        client.drop()
    assert lab.kernel.registry.get(task._moId).properties["info"].state == "error"


def test_old_tasks_are_forgotten(client: Client, lab: SmallLab) -> None:
    task = client.vm(1).PowerOn()
    client.wait_for(task)

    def age(kernel: object) -> None:
        finished = lab.kernel.service(Tasks)._finished
        for each in finished:
            finished[each] = finished[each].replace(year=2000)

    lab.on_loop(age)
    other = client.vm(2).PowerOn()
    client.wait_for(other)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        client.read(task, "info.state")
    recent = client.read(client.content.taskManager, "recentTask")["recentTask"]
    assert [each._moId for each in recent] == [other._moId]
