"""The answer about an instance is never older than what the session itself did."""

from __future__ import annotations

import threading

import pytest
from pyVmomi import vim

import vmops
from tests.vsphere.conftest import MakeVm, Place, eventually
from tests.vsphere.interposer import Interposer
from vmops.errors import InstanceNotFound
from vmops.model.power import InstanceState
from vmops.ops.instances.info import get_info
from vmops.vsphere.live.stream import STREAM_METHODS
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session
from vmops.vsphere.wire.coherence import OwnWrites

RUNNING, SHUTDOWN = InstanceState.RUNNING, InstanceState.SHUTDOWN


def test_what_the_session_did_shows_at_once(
    place: Place, session: Session, make_vm: MakeVm
) -> None:
    session.inventory.wait_fresh()
    vm, instance = make_vm(session)
    for _ in range(5):
        vm.power_on()
        assert get_info(session, instance).state is RUNNING
        vm.power_off()
        assert get_info(session, instance).state is SHUTDOWN
    session.run_task(vm.moref, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(memoryMB=128, numCPUs=2))
    for _ in range(5):
        told = get_info(session, instance)
        assert (told.num_cpu, told.max_mem_kib) == (2, 128 * 1024)
    vm.destroy()
    with pytest.raises(InstanceNotFound):
        get_info(session, instance)


def test_many_threads_are_told_of_their_own_changes(lab: Place, make_vm: MakeVm) -> None:
    wrong = []

    def turn(session: Session, vm: VirtualMachine, instance: str) -> None:
        for _ in range(10):
            vm.power_on()
            wrong.append(get_info(session, instance).state is not RUNNING)
            vm.power_off()
            wrong.append(get_info(session, instance).state is not SHUTDOWN)

    with lab.connect() as session:
        session.inventory.wait_fresh()
        made = [make_vm(session) for _ in range(4)]
        threads = [threading.Thread(target=turn, args=(session, *each)) for each in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(wrong) == 80
    assert not any(wrong)


def test_also_where_the_stream_is_silent(lab: Place, between: Interposer, make_vm: MakeVm) -> None:
    with vmops.connect(between.url, lab.username, lab.password, ca_file=between.ca_file) as session:
        vm, instance = make_vm(session)
        eventually(lambda: session.inventory.vm(vm.moid))
        between.rule("WaitForUpdatesEx", "after", "hang", times=100)
        for _ in range(3):
            vm.power_on()
            assert get_info(session, instance).state is RUNNING
            vm.power_off()
            assert get_info(session, instance).state is SHUTDOWN
        between.cut()


def test_once_the_inventory_has_caught_up_asking_costs_nothing(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        session.inventory.wait_fresh()
        vm, instance = make_vm(session)
        vm.power_on()

        def asking_is_free() -> bool:
            before = session.counts
            assert get_info(session, instance).state is RUNNING
            return not [m for m in session.counts - before if m not in STREAM_METHODS]

        eventually(asking_is_free)
        vm.power_off()


def noted(polls: list[int]) -> OwnWrites:
    writes = OwnWrites(lambda: polls[0])
    writes.note("vm-1")
    return writes


def test_a_note_stays_until_a_later_poll_and_a_read_agree() -> None:
    polls = [7]
    writes = noted(polls)
    writes.confirm("vm-1", writes.stamp("vm-1"))
    assert writes.has("vm-1"), "what the poll of before brings may be old"
    polls[0] = 8
    stamp = writes.stamp("vm-1")
    writes.note("vm-1")
    polls[0] = 9
    writes.confirm("vm-1", stamp)
    assert writes.has("vm-1"), "it was changed again after the read began"
    writes.confirm("vm-1", writes.stamp("vm-1"))
    assert not writes.has("vm-1")


def test_notes_of_machines_that_are_gone_go() -> None:
    polls = [1]
    writes = OwnWrites(lambda: polls[0])
    for number in range(3000):
        writes.note(f"vm-{number}")
    polls[0] = 2
    writes.note("vm-new")
    writes.clean(lambda: {"vm-3"})
    assert [name for name in ("vm-2", "vm-3", "vm-new") if writes.has(name)] == ["vm-3", "vm-new"]
