"""Machines that wait for an answer: their files were moved, or copied."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.specs import device, extra, new_disk, of_type, scsi, standard_nic

CANCEL, MOVED, COPIED = "0", "1", "2"


def elsewhere(client: Client, name: str, *changes: Any, **spec: Any) -> Any:
    """Register a machine whose folder was renamed."""
    vm = client.create(name, scsi(), new_disk(), standard_nic(), *changes, **spec)
    vm.UnregisterVM()
    folder = client.file(f"[datastore1] {name}")
    folder.rename(folder.with_name(f"{name}-b"))
    return client.register(f"[datastore1] {name}-b/{name}.vmx")


def asked(vm: Any) -> Any:
    deadline = time.monotonic() + 10
    while vm.runtime.question is None:
        assert time.monotonic() < deadline, "no question came"
        time.sleep(0.01)
    return vm.runtime.question


def identity(vm: Any) -> tuple[str, str]:
    [card] = of_type(vm, device.VirtualEthernetCard)
    return vm.config.uuid, card.macAddress


def test_power_on_waits_until_somebody_says_that_it_was_moved(client: Client, name: str) -> None:
    vm = elsewhere(client, name)
    before = identity(vm)
    task = vm.PowerOnVM_Task()

    question = asked(vm)

    assert task.info.state == "running"
    assert vm.runtime.powerState == "poweredOff"
    assert question.text.startswith("msg.uuid.altered:")
    assert [message.id for message in question.message] == ["msg.uuid.altered"]
    choices = question.choice.choiceInfo
    assert [choice.key for choice in choices] == [CANCEL, MOVED, COPIED]
    assert choices[question.choice.defaultIndex].label == "button.uuid.copiedTheVM"
    vm.AnswerVM(question.id, MOVED)
    client.result(task)
    assert vm.runtime.question is None
    assert identity(vm) == before


def test_a_copy_gets_addresses_and_a_uuid_of_its_own(client: Client, name: str) -> None:
    original = client.create(name, scsi(), new_disk(), standard_nic())
    folder = client.file(f"[datastore1] {name}")
    shutil.copytree(folder, folder.with_name(f"{name}-b"))
    vm = client.register(f"[datastore1] {name}-b/{name}.vmx", f"{name}-b")
    task = vm.PowerOnVM_Task()

    vm.AnswerVM(asked(vm).id, COPIED)

    client.result(task)
    assert not set(identity(vm)) & set(identity(original))
    client.result(original.PowerOnVM_Task())
    after = identity(vm)
    client.result(vm.PowerOffVM_Task())
    vm.UnregisterVM()
    vm = client.register(f"[datastore1] {name}-b/{name}.vmx", f"{name}-b")
    assert identity(vm) == after
    client.result(vm.PowerOnVM_Task())


def test_addresses_given_by_hand_are_kept(client: Client, name: str) -> None:
    vm = client.create(name, standard_nic(addressType="manual", macAddress="fa:16:3e:00:00:09"))
    vm.UnregisterVM()
    folder = client.file(f"[datastore1] {name}")
    folder.rename(folder.with_name(f"{name}-b"))
    vm = client.register(f"[datastore1] {name}-b/{name}.vmx")
    task = vm.PowerOnVM_Task()
    vm.AnswerVM(asked(vm).id, COPIED)
    client.result(task)

    assert identity(vm)[1] == "fa:16:3e:00:00:09"


def test_cancel_leaves_it_off_and_asks_again_the_next_time(client: Client, name: str) -> None:
    vm = elsewhere(client, name)
    client.reconfigure(vm, annotation="changed meanwhile")
    for _ in range(2):
        task = vm.PowerOnVM_Task()
        vm.AnswerVM(asked(vm).id, CANCEL)
        with pytest.raises(vmodl.fault.RequestCanceled):
            client.result(task)
        assert (vm.runtime.powerState, vm.runtime.question) == ("poweredOff", None)


def test_nothing_else_happens_meanwhile_and_only_true_answers_count(
    client: Client, name: str
) -> None:
    vm = elsewhere(client, name)
    task = vm.PowerOnVM_Task()
    question = asked(vm)

    for other in (vm.PowerOnVM_Task(), vm.Destroy_Task(), vm.Rename_Task("x")):
        with pytest.raises(vim.fault.QuestionPending):
            client.result(other)
    for wrong in (("nothing", MOVED), (question.id, "3"), (question.id, "moved")):
        with pytest.raises(vmodl.fault.InvalidArgument):
            vm.AnswerVM(*wrong)
    assert vm.runtime.question.id == question.id
    vm.AnswerVM(question.id, MOVED)
    with pytest.raises(vim.fault.ConcurrentAccess):
        vm.AnswerVM(question.id, MOVED)
    client.result(task)


@pytest.mark.parametrize(("action", "is_new"), [("create", True), ("keep", False)])
def test_the_configuration_answers_beforehand(
    client: Client, name: str, action: str, is_new: bool
) -> None:
    vm = elsewhere(client, name, extraConfig=extra(**{"uuid.action": action}))
    before = identity(vm)

    client.result(vm.PowerOnVM_Task())

    assert (identity(vm) != before) is is_new


def test_the_default_is_taken_where_messages_answer_themselves(client: Client, name: str) -> None:
    vm = elsewhere(client, name, extraConfig=extra(**{"msg.autoAnswer": "TRUE"}))
    before = identity(vm)

    client.result(vm.PowerOnVM_Task())

    assert identity(vm) != before


def test_what_the_lab_moves_or_clones_itself_is_no_question(own: Client, name: str) -> None:
    vm = own.create(name, scsi(), new_disk())
    target = next(each for each in own.datacenter.datastore if each.name == "datastore2")
    own.result(vm.CreateSnapshot_Task("s", memory=False, quiesce=False))
    own.result(vm.RelocateVM_Task(vim.vm.RelocateSpec(datastore=target)))
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=True, template=False)

    clone = own.result(vm.CloneVM_Task(own.folder, f"{name}-c", spec))

    assert clone.runtime.powerState == "poweredOn"
    own.result(vm.RevertToCurrentSnapshot_Task())
    own.result(vm.PowerOnVM_Task())
    assert "uuid.location" not in {option.key for option in vm.config.extraConfig}


def test_a_clone_of_a_machine_that_would_ask_does_not(client: Client, name: str) -> None:
    vm = elsewhere(client, name)
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=True, template=False)

    clone = client.result(vm.CloneVM_Task(client.folder, f"{name}-c", spec))

    assert clone.runtime.powerState == "poweredOn"
