"""Live migration: a running instance goes to another host, with its disks or without."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LabBackend
from tests.builders import CAPACITY, an_instance
from tests.contract.engine import Bench
from tests.contract.migrating import Told, files_of, host_named, migrate, other_host, place
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from tests.contract.volume_by_hand import add_volume
from vmops import Instance, Vif
from vmops.errors import (
    HostNotFound,
    InstanceNotFound,
    InvalidPowerState,
    InvalidState,
    MigrationPreCheckFailed,
    NoDiskSpace,
    VMOpsError,
)
from vmops.lab.guest import boot_sector_disk
from vmops.lab.wire.failures import Failure, How

pytestmark = needs(Capability.VCENTER, Capability.CONTROL, Capability.TWO_DATASTORES)


@contextmanager
def only_on(bench: Bench, thing: Any, host: str) -> Iterator[None]:
    """Let a network or a datastore be on one host alone until the end of the block."""
    assert isinstance(bench.backend, LabBackend)
    lab, wanted = bench.backend.lab, host_named(bench, host)._GetMoId()

    async def narrow(kernel: Any) -> Any:
        there = kernel.registry.get(thing._GetMoId())
        before = there.properties["host"]
        left = [one for one in before if getattr(one, "key", one)._GetMoId() == wanted]
        assert len(left) < len(before)
        kernel.update(there, {"host": left})
        return before

    before = lab.on_loop(narrow)

    async def widen(kernel: Any) -> None:
        kernel.update(kernel.registry.get(thing._GetMoId()), {"host": before})

    try:
        yield
    finally:
        lab.on_loop(widen)


def check_refused(
    bench: Bench, instance: Instance, dest: str, words: str, *, block: bool = False
) -> None:
    """It is refused before anything is done, and neither callback is called."""
    before, told = bench.world(), Told()
    where = place(bench, instance)
    with bench.backend.connect() as session, pytest.raises(MigrationPreCheckFailed, match=words):
        ops = bench.engine(session=session)
        migrate(bench, instance, dest, told, ops=ops, block_migration=block)
    assert told.counts() == (0, 0)
    assert place(bench, instance) == where
    assert bench.world() == before


# Moving


def test_it_runs_on_the_other_host_and_this_is_told_once(bench: Bench) -> None:
    instance = bench.spawn()
    dest, before = other_host(bench, instance), files_of(bench, instance)
    told = Told()
    migrate(bench, instance, dest, told)
    assert place(bench, instance) == (dest, {"datastore1"})
    assert bench.power(instance) == ON
    assert told.post == [("context", instance, dest, False)]
    assert told.recover == []
    assert files_of(bench, instance) == before


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("to_other_host", [True, False], ids=["to-host", "same-host"])
@pytest.mark.parametrize("serial_log", [True, False], ids=["log", "no-log"])
def test_its_files_go_along_and_destroy_leaves_none(
    bench: Bench, linked: bool, to_other_host: bool, serial_log: bool
) -> None:
    """A linked clone's parent is copied with it, and is its own from then on.

    Only the serial port's log, which the guest goes on writing, stays.
    """
    ops = bench.engine(serial_log=serial_log)
    instance = bench.spawn(linked_clone=linked, ops=ops)
    cached = {path for path in bench.tree() if bench.backend.cache_folder in path}
    here = place(bench, instance)[0]
    dest = other_host(bench, instance) if to_other_host else here
    told = Told()
    migrate(bench, instance, dest, told, block_migration=True)
    assert place(bench, instance)[0] == dest
    assert bench.power(instance) == ON
    assert told.post == [("context", instance, dest, True)]
    assert told.recover == []
    stayed = {path for path in files_of(bench, instance) if path.startswith("[datastore1]")}
    folder = f"[datastore1] {instance.uuid}"
    assert stayed <= ({folder, f"{folder}/serial.log"} if serial_log else set())
    assert files_of(bench, instance) > stayed
    bench.ops.destroy(instance, None)
    assert files_of(bench, instance) == set()
    assert {path for path in bench.tree() if not path.startswith("[datastore1]")} == set()
    assert {path for path in bench.tree() if bench.backend.cache_folder in path} == cached


def test_a_volume_stays_where_it_is(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    add_volume(bench, instance, bytes(range(256)) * (CAPACITY // 256))
    bench.ops.power_on(None, instance, None, None)
    told = Told()
    migrate(bench, instance, other_host(bench, instance), told, block_migration=True)
    assert told.counts() == (1, 0)
    disks = second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
    names = [disk.backing.fileName for disk in disks]
    assert names[0].startswith("[datastore2] ")
    assert names[1] == "[datastore1] 7e57-volumes/volume.vmdk"
    bench.ops.destroy(instance, None)
    volume = bench.root() / "7e57-volumes/volume-flat.vmdk"
    assert volume.read_bytes() == bytes(range(256)) * (CAPACITY // 256)


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
def test_there_and_back(bench: Bench, linked: bool) -> None:
    instance = bench.spawn(linked_clone=linked)
    home = place(bench, instance)
    for block in (True, False):
        told = Told()
        migrate(bench, instance, other_host(bench, instance), told, block_migration=block)
        assert told.counts() == (1, 0)
    told = Told()
    migrate(bench, instance, home[0], told, block_migration=True)
    assert place(bench, instance) == home
    assert {path for path in files_of(bench, instance) if path.startswith("[datastore2]")} == set()
    bench.ops.destroy(instance, None)
    assert files_of(bench, instance) == set()


# What is refused before anything is done


def test_a_host_that_is_not_there(bench: Bench) -> None:
    instance, told = bench.spawn(), Told()
    before = bench.world()
    with pytest.raises(HostNotFound, match=r"esx9.*esx1.lab.local"):
        migrate(bench, instance, "esx9.lab.local", told)
    assert told.counts() == (0, 0)
    assert bench.world() == before


def test_an_instance_that_is_not_there(bench: Bench) -> None:
    told = Told()
    with pytest.raises(InstanceNotFound):
        migrate(bench, an_instance(), "esx1.lab.local", told)
    assert told.counts() == (0, 0)


@pytest.mark.parametrize("block", [True, False])
@pytest.mark.parametrize("state", [OFF, SUSPENDED])
def test_what_does_not_run_is_not_moved(bench: Bench, state: str, block: bool) -> None:
    instance, told = in_state(bench, state), Told()
    before, where = bench.world(), place(bench, instance)
    word = {OFF: "off", SUSPENDED: "suspended"}[state]
    with pytest.raises(InvalidPowerState, match=word):
        migrate(bench, instance, other_host(bench, instance), told, block_migration=block)
    assert told.counts() == (0, 0)
    assert (bench.world(), place(bench, instance)) == (before, where)


def test_the_host_where_it_runs(bench: Bench) -> None:
    instance = bench.spawn()
    check_refused(bench, instance, place(bench, instance)[0], "already")


def test_a_host_in_maintenance(bench: Bench) -> None:
    instance = bench.spawn()
    dest = other_host(bench, instance)
    host = host_named(bench, dest)
    second_view.finished(host.EnterMaintenanceMode_Task(0))
    try:
        check_refused(bench, instance, dest, "in maintenance")
        check_refused(bench, instance, dest, "in maintenance", block=True)
    finally:
        second_view.finished(host.ExitMaintenanceMode_Task(0))


def test_a_host_that_is_not_connected(bench: Bench) -> None:
    instance = bench.spawn()
    dest = other_host(bench, instance)
    host = host_named(bench, dest)
    second_view.finished(host.DisconnectHost_Task())
    try:
        check_refused(bench, instance, dest, "not connected")
    finally:
        second_view.finished(host.ReconnectHost_Task())


@pytest.mark.parametrize("kind", ["network", "distributed_network"])
def test_a_host_without_the_network(bench: Bench, kind: str) -> None:
    name = getattr(bench.backend, kind)
    instance = bench.spawn(vifs=[Vif(network=name)])
    here, dest = place(bench, instance)[0], other_host(bench, instance)
    network = second_view.named(bench.content, vim.Network, name)
    with only_on(bench, network, here):
        check_refused(bench, instance, dest, f"no network {name}")
        check_refused(bench, instance, dest, f"no network {name}", block=True)


def test_a_host_without_the_datastore(bench: Bench) -> None:
    """The disks can still go there by another datastore."""
    instance = bench.spawn(ops=bench.engine(serial_log=False))
    with_log = bench.spawn()
    here, dest = place(bench, instance)[0], other_host(bench, instance)
    datastore = second_view.named(bench.content, vim.Datastore, "datastore1")
    with only_on(bench, datastore, here):
        check_refused(bench, instance, dest, "has not mounted datastore1. Migrate with the disks")
        check_refused(bench, with_log, dest, "mounted datastore1. The serial log", block=True)
        with bench.backend.connect() as session:
            told = Told()
            ops = bench.engine(session=session)
            migrate(bench, instance, dest, told, ops=ops, block_migration=True)
    assert told.counts() == (1, 0)
    assert place(bench, instance) == (dest, {"datastore2"})


def test_no_other_datastore(bench: Bench) -> None:
    assert isinstance(bench.backend, LabBackend)
    instance = bench.spawn()
    bench.backend.change_datastore("datastore2", accessible=False)
    check_refused(bench, instance, other_host(bench, instance), "no other datastore", block=True)


def test_a_rescued_instance_keeps_its_disks_where_they_are(bench: Bench) -> None:
    instance, told = bench.spawn(), Told()
    bench.ops.rescue(None, instance, None, "flat")
    dest = other_host(bench, instance)
    with pytest.raises(InvalidState, match="is rescued"):
        migrate(bench, instance, dest, told, block_migration=True)
    assert told.counts() == (0, 0)
    migrate(bench, instance, dest, told)
    assert told.counts() == (1, 0)
    bench.ops.unrescue(instance)
    assert place(bench, instance)[0] == dest


# Failing


@pytest.mark.parametrize("block", [True, False])
@pytest.mark.parametrize("how", [How.REFUSED, How.TASK_FAILS, How.LOST_BEFORE])
def test_a_move_that_fails_is_told_once_and_it_runs_where_it_was(
    bench: Bench, how: How, block: bool
) -> None:
    assert isinstance(bench.backend, LabBackend)
    instance, told = bench.spawn(), Told()
    dest, where, before = other_host(bench, instance), place(bench, instance), bench.world()
    bench.backend.lab.failures.plan(Failure(call="RelocateVM_Task", how=how))
    with pytest.raises(VMOpsError, match=r"on purpose|was lost"):
        migrate(bench, instance, dest, told, block_migration=block)
    assert told.post == []
    assert told.recover == [("context", instance, dest, block)]
    assert place(bench, instance) == where
    assert bench.power(instance) == ON
    assert bench.world() == before
    migrate(bench, instance, dest, told, block_migration=block)
    assert told.counts() == (1, 1)


@pytest.mark.parametrize("block", [True, False])
@pytest.mark.parametrize("how", [How.LOST_AFTER, How.LOST_AT_ONCE])
def test_a_move_whose_answer_is_lost_has_happened(bench: Bench, how: How, block: bool) -> None:
    assert isinstance(bench.backend, LabBackend)
    instance, told = bench.spawn(), Told()
    dest = other_host(bench, instance)
    bench.backend.lab.failures.plan(Failure(call="RelocateVM_Task", how=how))
    migrate(bench, instance, dest, told, block_migration=block)
    assert told.counts() == (1, 0)
    assert place(bench, instance)[0] == dest


def test_a_datastore_that_gets_full_on_the_way(bench: Bench) -> None:
    assert isinstance(bench.backend, LabBackend)
    instance, told = bench.spawn(), Told()
    before = bench.world()
    full = vim.fault.NoDiskSpace(datastore="datastore2", file="disk")
    failure = Failure(call="RelocateVM_Task", how=How.TASK_FAILS, fault=full)
    bench.backend.lab.failures.plan(failure)
    with pytest.raises(NoDiskSpace, match="datastore2"):
        migrate(bench, instance, other_host(bench, instance), told, block_migration=True)
    assert told.counts() == (0, 1)
    assert bench.world() == before


def test_a_look_that_fails_after_the_move_does_not_call_it_failed(bench: Bench) -> None:
    assert isinstance(bench.backend, LabBackend)
    instance, told = bench.spawn(), Told()
    dest = other_host(bench, instance)

    def look_fails(*_: Any) -> None:
        told.post.append(_)

    failure = Failure(call="RetrievePropertiesEx", how=How.REFUSED, nth=2)
    bench.session.inventory.wait_fresh()
    bench.backend.lab.failures.plan(failure)
    bench.ops.live_migration(None, instance, dest, look_fails, told.recover.append)
    assert told.counts() == (1, 0)
    assert place(bench, instance)[0] == dest


def test_a_recovery_that_fails_does_not_hide_why(bench: Bench) -> None:
    assert isinstance(bench.backend, LabBackend)
    instance = bench.spawn()

    def recover(*_: Any) -> None:
        raise LookupError("nobody recovers")

    bench.backend.lab.failures.plan(Failure(call="RelocateVM_Task", how=How.TASK_FAILS))
    with pytest.raises(VMOpsError, match="on purpose") as failed:
        bench.ops.live_migration(None, instance, other_host(bench, instance), print, recover)
    assert "nobody recovers" in str(failed.value.__notes__)


def test_an_error_of_the_caller_after_success_is_not_recovered(bench: Bench) -> None:
    instance, told = bench.spawn(), Told()
    dest = other_host(bench, instance)

    def post(*_: Any) -> None:
        raise LookupError("the caller's own")

    with pytest.raises(LookupError):
        bench.ops.live_migration(None, instance, dest, post, told.recover.append)
    assert told.recover == []
    assert place(bench, instance)[0] == dest


@needs(Capability.COUNTED_CALLS)
@pytest.mark.parametrize("block", [True, False])
def test_it_is_three_calls(bench: Bench, block: bool) -> None:
    """Look, move, look; one more where the stream is late."""
    instance = bench.spawn()
    bench.session.inventory.wait_fresh()
    dest = other_host(bench, instance)
    calls = bench.calls_of(lambda: migrate(bench, instance, dest, Told(), block_migration=block))
    assert calls["RelocateVM_Task"] == 1
    assert calls["RetrievePropertiesEx"] in (2, 3)
    assert set(calls) == {"RelocateVM_Task", "RetrievePropertiesEx"}


# A guest


class Pauses(Thread):
    """Watches a file grow, and keeps how long it ever did not."""

    def __init__(self, files: Callable[[], list[Path]]) -> None:
        super().__init__()
        self._files = files
        self._stop_now = Event()
        self.longest_s = 0.0

    def run(self) -> None:
        size, last = -1, time.monotonic()
        while not self._stop_now.wait(0.002):
            now = max((f.stat().st_size for f in self._files() if f.exists()), default=0)
            if now > size:
                moment = time.monotonic()
                if size >= 0:
                    self.longest_s = max(self.longest_s, moment - last)
                size, last = now, moment

    def __enter__(self) -> Pauses:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join()


@needs(Capability.GUEST)
def test_a_guest_counts_on_over_hosts_and_datastores(bench: Bench, tmp_path: Path) -> None:
    """It says each tick of the BIOS clock, 18.2 a second, and leaves none out."""
    quick = tmp_path / "quick.img"
    quick.write_bytes(boot_sector_disk(period=1))
    image = bench.images.add(f"quick-{tmp_path.name}", quick, flat=True, vmware_ostype="otherGuest")
    instance = bench.spawn(image)
    logs = [
        bench.root(name) / instance.uuid / "serial.log" for name in ("datastore1", "datastore2")
    ]

    def said() -> str:
        there = [log.read_bytes() for log in logs if log.exists()]
        return max(there, key=len, default=b"").decode("ascii", "replace")

    def ticks(at_least: int) -> list[int]:
        deadline = time.monotonic() + 60
        while True:
            found = [int(number) for number in re.findall(r"tick (\d+)\r\n", said())]
            if found and found[-1] >= at_least:
                return found
            assert time.monotonic() < deadline, said()[-300:]
            time.sleep(0.02)

    with Pauses(lambda: logs) as still:
        now = ticks(ticks(20)[-1] + 40)
    figures = [f"standing still {still.longest_s * 1000:.0f} ms"]
    for block in (False, True, True, False):
        dest, told = other_host(bench, instance), Told()
        with Pauses(lambda: logs) as pauses:
            migrate(bench, instance, dest, told, block_migration=block)
            now = ticks(now[-1] + 20)
        assert told.counts() == (1, 0)
        assert place(bench, instance)[0] == dest
        assert now == list(range(1, now[-1] + 1)), "a tick was lost"
        assert said().count("boot 1\r\n") == 1
        assert said().count("vmops boot sector") == 1, "the guest was reset"
        what = "with its disks" if block else "to a host"
        figures.append(f"{what} {pauses.longest_s * 1000:.0f} ms")
    sys.stdout.write(f"longest time without a tick, one being due each 55 ms: {figures}\n")
    assert place(bench, instance)[1] == {"datastore1"}
    bench.ops.destroy(instance, None)
    assert files_of(bench, instance) == set()
