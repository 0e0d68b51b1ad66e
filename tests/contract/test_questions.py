"""A machine that asks something when it is powered on: it is answered, or told; nothing hangs."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Instance
from vmops.errors import QuestionPending

pytestmark = needs(Capability.CONTROL, Capability.NO_GUESTS)

ASKED = "msg.uuid.altered"
CANCEL, MOVED, COPIED = "0", "1", "2"


def moved(bench: Bench) -> Instance:
    """An instance whose folder was renamed while it was not registered."""
    instance = bench.spawn(power_on=False)
    return registered(bench, instance, f"{instance.uuid}-moved")


def copied(bench: Bench) -> tuple[Instance, Instance]:
    """An instance, and a copy of its files that was registered beside it."""
    instance = bench.spawn(power_on=False)
    folder = bench.root() / instance.uuid
    shutil.copytree(folder, folder.with_name(f"{instance.uuid}-copy"))
    place = second_view.properties(bench.vm(instance), "parent", "resourcePool")
    copy = second_view.finished(
        place["parent"].RegisterVM_Task(
            path=f"[{bench.backend.datastore}] {instance.uuid}-copy/{instance.uuid}.vmx",
            name="vmops-test-copy",
            asTemplate=False,
            pool=place["resourcePool"],
        )
    )
    uuid = second_view.properties(copy, "config.instanceUuid")["config.instanceUuid"]
    return instance, Instance(uuid=uuid, name="vmops-test-copy", flavor=instance.flavor)


def registered(bench: Bench, instance: Instance, folder: str) -> Instance:
    vm = bench.vm(instance)
    place = second_view.properties(vm, "parent", "resourcePool", "config.files.vmPathName")
    vmx = place["config.files.vmPathName"].rpartition("/")[2]
    vm.UnregisterVM()
    (bench.root() / instance.uuid).rename(bench.root() / folder)
    second_view.finished(
        place["parent"].RegisterVM_Task(
            path=f"[{bench.backend.datastore}] {folder}/{vmx}",
            asTemplate=False,
            pool=place["resourcePool"],
        )
    )
    return instance


def identity(bench: Bench, instance: Instance) -> str:
    vm = bench.vm(instance)
    return str(second_view.properties(vm, "config.uuid")["config.uuid"])


def question(vm: Any) -> Any:
    return second_view.properties(vm, "runtime.question").get("runtime.question")


@pytest.mark.parametrize("known", [True, False], ids=["warm", "cold"])
def test_what_was_moved_keeps_what_it_is(bench: Bench, known: bool) -> None:
    instance = moved(bench)
    before = identity(bench, instance)
    with bench.backend.connect() as session:
        if known:
            session.inventory.wait_fresh()
        bench.engine(session=session).power_on(None, instance)
    assert bench.power(instance) == "poweredOn"
    assert identity(bench, instance) == before


@needs(Capability.VCENTER)  # which gives a copy an instance UUID of its own
def test_what_may_be_a_copy_is_told_and_stays_off(bench: Bench) -> None:
    _, copy = copied(bench)
    before = identity(bench, copy)
    with pytest.raises(QuestionPending) as refused:
        bench.ops.power_on(None, copy)
    message = str(refused.value)
    for words in (copy.uuid, "waits for an answer", ASKED, "moved or copied", "I Copied It"):
        assert words in message
    assert bench.power(copy) == "poweredOff"
    assert question(bench.vm(copy)) is None
    assert identity(bench, copy) == before


@needs(Capability.VCENTER)
@pytest.mark.parametrize("answer", ["button.uuid.copiedTheVM", COPIED, "i copied it"])
def test_the_settings_answer(bench: Bench, answer: str) -> None:
    instance, copy = copied(bench)
    bench.engine(answers={ASKED: answer}).power_on(None, copy)
    assert bench.power(copy) == "poweredOn"
    assert identity(bench, copy) != identity(bench, instance)


def test_the_settings_may_leave_it_to_a_person(bench: Bench) -> None:
    instance = moved(bench)
    with pytest.raises(QuestionPending, match=ASKED):
        bench.engine(answers={ASKED: ""}).power_on(None, instance)
    assert bench.power(instance) == "poweredOff"
    assert question(bench.vm(instance)) is None


def test_what_asked_before_is_answered_too(bench: Bench) -> None:
    """As after a process that was killed while its power-on waited."""
    instance = moved(bench)
    vm = bench.vm(instance)
    task = vm.PowerOnVM_Task()
    deadline = time.monotonic() + 10.0
    while question(vm) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bench.ops.power_on(None, instance)
    second_view.finished(task)
    assert bench.power(instance) == "poweredOn"


def test_a_power_on_that_does_not_ask_costs_nothing_more(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    calls = bench.calls_of(lambda: bench.ops.power_on(None, instance))
    assert calls["PowerOnVM_Task"] == 1
    assert calls["AnswerVM"] == 0
    assert calls.total() <= 2  # the stream may be late to tell of a task


def test_what_a_resume_asks_is_answered(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.suspend(instance)
    vm = bench.vm(instance)
    assert isinstance(vm, vim.VirtualMachine)
    registered(bench, instance, f"{instance.uuid}-moved")
    bench.ops.power_on(None, instance)
    assert bench.power(instance) == "poweredOn"
