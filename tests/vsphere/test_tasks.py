from __future__ import annotations

import signal
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyVmomi import vim

import vmops
from tests.vsphere.conftest import MakeVm, Place, end_session
from tests.vsphere.interposer import Interposer
from vmops.context import operation
from vmops.errors import ConnectionLost, FileNotFound, InvalidPowerState, TimedOut
from vmops.model.datastore_path import DatastorePath
from vmops.progress import Event, TaskProgress
from vmops.units import MIB
from vmops.vsphere.live.stream import STREAM_METHODS
from vmops.vsphere.session import Session
from vmops.vsphere.wire.limits import Limits


def beside_the_stream(counts: Counter[str]) -> dict[str, int]:
    return {method: count for method, count in counts.items() if method not in STREAM_METHODS}


def test_returns_the_result_and_costs_one_call_beside_the_stream(
    lab: Place, make_vm: MakeVm
) -> None:
    with lab.connect() as session:
        vm, _ = make_vm(session)
        vm.power_on()
        before = session.counts
        vm.power_off()
        assert beside_the_stream(session.counts - before) == {"PowerOffVM_Task": 1}


def test_a_task_that_fails_tells_fault_task_and_entity(session: Session, make_vm: MakeVm) -> None:
    vm, _ = make_vm(session)
    with pytest.raises(InvalidPowerState, match="is poweredOff") as failed:
        vm.power_off()
    (note,) = failed.value.__notes__
    assert "VirtualMachine.powerOff" in note
    assert vm.moid in note


def test_tasks_of_managers_that_are_no_entities_can_be_waited_for(session: Session) -> None:
    datastore = session.inventory.datastores()[0]
    with pytest.raises(FileNotFound):
        session.file_manager.delete(DatastorePath(datastore.name, "nothing.txt"))


def test_progress_reaches_the_observer(slow_lab: Place) -> None:
    events: list[Event] = []
    with slow_lab.connect() as session:
        folder = DatastorePath(session.inventory.datastores()[0].name, "progress")
        session.file_manager.make_directory(folder)
        disks = session.virtual_disk_manager
        try:
            disks.create(folder.joined("a.vmdk"), 64 * MIB, "thick")
            with operation("copy", observe=events.append):
                disks.copy(folder.joined("a.vmdk"), folder.joined("b.vmdk"))
        finally:
            session.file_manager.delete(folder)
    assert events
    told = [event for event in events if isinstance(event, TaskProgress)]
    assert told == events
    assert {event.task for event in told} == {"VirtualDiskManager.copyVirtualDisk"}
    percents = [event.percent for event in told]
    assert percents == sorted(set(percents))


def test_a_deadline_asks_the_task_to_stop(
    slow_lab: Place, make_vm: MakeVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmops.vsphere.live.tasks.CANCEL_GRACE_S", 0.05)
    with slow_lab.connect() as session:
        vm, _ = make_vm(session)
        begin = time.monotonic()
        with (
            pytest.raises(TimedOut, match=r"VirtualMachine\.powerOn"),
            operation("power_on", task_deadline_s=0.05),
        ):
            vm.power_on()
        assert time.monotonic() - begin < 0.3
        assert session.counts["CancelTask"] == 1
        time.sleep(0.4)


def test_a_task_that_cannot_be_stopped_and_ends_well_has_ended_well(
    slow_lab: Place, make_vm: MakeVm
) -> None:
    with slow_lab.connect() as session:
        vm, _ = make_vm(session)
        with operation("power_on", task_deadline_s=0.05):
            vm.power_on()
        assert session.counts["CancelTask"] == 1
        assert vm.power_state() == "poweredOn"


def test_ctrl_c_asks_the_task_to_stop_and_is_raised_when_it_has_ended(
    slow_lab: Place, make_vm: MakeVm
) -> None:
    with slow_lab.connect() as session:
        vm, _ = make_vm(session)
        interrupt = threading.Timer(
            0.1, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]
        )
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            vm.power_on()
        interrupt.join()
        assert session.counts["CancelTask"] == 1
        # It could not be stopped; whoever cleans up now meets no running task.
        vm.power_off()


def test_many_wait_at_once_and_their_tasks_are_listed_together(
    slow_lab: Place, make_vm: MakeVm
) -> None:
    with slow_lab.connect() as session, ThreadPoolExecutor(20) as pool:
        made = [vm for vm, _ in pool.map(lambda _: make_vm(session), range(20))]
        before = session.counts
        begin = time.monotonic()
        list(pool.map(lambda vm: vm.power_on(), made))
        taken = time.monotonic() - begin
        used = session.counts - before
        assert {vm.power_state() for vm in made} == {"poweredOn"}
        assert used["ModifyListView"] < 20
        assert used["RetrievePropertiesEx"] <= 2
        assert taken < 20 * 0.3
        list(pool.map(lambda vm: vm.power_off(), made))


def test_a_task_that_several_wait_for_wakes_all(slow_lab: Place, make_vm: MakeVm) -> None:
    with slow_lab.connect() as session, ThreadPoolExecutor(5) as pool:
        vm, _ = make_vm(session)
        task = session.call(vm.moref, "PowerOnVM_Task")
        list(pool.map(lambda _: session.tasks.wait(task), range(5)))
        session.tasks.wait(task)  # it ended before
        assert vm.power_state() == "poweredOn"


def test_wakes_at_once(slow_lab: Place, make_vm: MakeVm) -> None:
    """The task takes 300 ms on the server; more than a moment after that is ours."""
    with slow_lab.connect() as session:
        vm, _ = make_vm(session)
        late = []
        for _ in range(4):
            for change in (vm.power_on, vm.power_off):
                begin = time.monotonic()
                change()
                late.append(time.monotonic() - begin - 0.3)
        assert statistics.median(late) < 0.1


def test_a_lost_stream_does_not_lose_a_task(
    lab: Place, slow_lab: Place, make_vm: MakeVm, tmp_path: Path
) -> None:
    with (
        Interposer(slow_lab.url, tmp_path) as between,
        vmops.connect(
            between.url, slow_lab.username, slow_lab.password, ca_file=between.ca_file, timeout_s=3
        ) as session,
    ):
        vm, _ = make_vm(session)
        cut = threading.Timer(0.1, between.cut)
        cut.start()
        vm.power_on()
        cut.join()
        assert vm.power_state() == "poweredOn"
        vm.power_off()


def test_updates_that_never_come_hang_nobody(
    slow_lab: Place, make_vm: MakeVm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmops.vsphere.live.watch_list.SAFETY_POLL_S", 0.2)
    with (
        Interposer(slow_lab.url, tmp_path) as between,
        vmops.connect(
            between.url, slow_lab.username, slow_lab.password, ca_file=between.ca_file
        ) as session,
    ):
        vm, _ = make_vm(session)
        between.rule("WaitForUpdatesEx", "after", "hang", times=100)
        begin = time.monotonic()
        vm.power_on()
        vm.power_off()
        assert time.monotonic() - begin < 3


def test_a_server_that_dies_while_a_task_is_waited_for_is_told(
    slow_lab: Place, make_vm: MakeVm, tmp_path: Path
) -> None:
    with Interposer(slow_lab.url, tmp_path) as between:
        session = vmops.connect(
            between.url,
            slow_lab.username,
            slow_lab.password,
            ca_file=between.ca_file,
            limits=Limits(window_s=0.5),
        )
        vm, _ = make_vm(session)
        away = threading.Timer(0.1, between.refuse)
        away.start()
        begin = time.monotonic()
        with pytest.raises(ConnectionLost):
            vm.power_on()
        assert time.monotonic() - begin < 3
        away.join()
        session.close()
    with slow_lab.connect() as again:
        left = vim.VirtualMachine(vm.moid)
        time.sleep(0.4)
        assert again.properties.read_one(left, "runtime.powerState")["runtime.powerState"]
        again.run_task(left, "PowerOffVM_Task")
        again.run_task(left, "Destroy_Task")


def test_an_expired_session_does_not_lose_a_task(slow_lab: Place, make_vm: MakeVm) -> None:
    with slow_lab.connect() as session, slow_lab.connect() as admin:
        vm, _ = make_vm(session)
        task = session.call(vm.moref, "PowerOnVM_Task")
        ended = threading.Timer(0.1, end_session, (session, admin))
        ended.start()
        session.tasks.wait(task)
        ended.join()
        vm.power_off()
        assert session.client.logins == 2
