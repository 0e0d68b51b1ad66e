"""The disk full, the server killed, the process interrupted or killed, in the middle of a spawn."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from pyVmomi import vim

from tests.backends import files, second_view
from tests.backends.lab import LabBackend
from tests.builders import WAYS, Images, an_instance
from tests.contract.engine import Bench
from tests.faults import matrix
from tests.faults.own_process import environment
from tests.faults.spawning import HELD, program
from vmops import in_flight
from vmops.errors import ConnectionLost, NoDiskSpace, NoSuitableDatastore
from vmops.lab import Lab
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import Image
from vmops.ops.instances import leftovers, recovery
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.wire import retry

PROJECT = Path(__file__).parents[2]
MIB = 1024 * 1024
CAPACITY = 24 * MIB


class Held:
    """A store whose images stop in the middle until they are released."""

    def __init__(self, images: Images) -> None:
        self._store = images.store
        self.half_way = threading.Event()
        self.go_on = threading.Event()

    def list(self) -> tuple[Image, ...]:
        return self._store.list()

    def get(self, name_or_id: str) -> Image:
        return self._store.get(name_or_id)

    @contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        with self._store.open(image) as stream:
            yield _HeldStream(stream.read(), self)  # type: ignore[misc]


class _HeldStream(io.RawIOBase):
    def __init__(self, content: bytes, held: Held) -> None:
        super().__init__()
        self._content = io.BytesIO(content)
        self._half = len(content) // 2
        self._held = held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._half - self._content.tell()
        if left == 0:
            self._held.half_way.set()
            assert self._held.go_on.wait(30)
        block = self._content.read(min(len(buffer), left) if left > 0 else len(buffer))
        buffer[: len(block)] = block
        return len(block)


# Full


@pytest.fixture
def small(images: Images) -> Iterator[Bench]:
    """A lab whose datastores have little room."""
    backend = LabBackend("lab", datastore_capacity_bytes=CAPACITY)
    try:
        with backend.connect() as session:
            session.inventory.wait_fresh()
            yield Bench(backend=backend, session=session, images=images)
    finally:
        backend.close()


FILLERS = DatastorePath("datastore1", "fillers")


def fill(bench: Bench, *, leave: int) -> None:
    """Put files on the datastore until at most so many bytes are free.

    The lab counts what is used now and then, so what it says is asked for more than once.
    """
    datastore = second_view.named(bench.content, vim.Datastore, FILLERS.datastore)
    end = time.monotonic() + 10
    with bench.backend.connect() as session:
        while time.monotonic() < end:
            free = second_view.properties(datastore, "summary.freeSpace")["summary.freeSpace"]
            if free > leave:
                content = io.BytesIO(os.urandom(free - leave))
                path = FILLERS.joined(f"{time.monotonic_ns()}")
                session.datastore_files.upload(content, free - leave, path)
            elif files.used(bench.root()) >= CAPACITY - leave - MIB // 10:
                return
            time.sleep(0.1)
    raise AssertionError("the datastore does not get full")


def test_a_datastore_that_is_too_small_is_not_taken(small: Bench) -> None:
    fill(small, leave=4 * MIB)
    before = small.world()
    with small.backend.connect() as fresh, pytest.raises(NoSuitableDatastore, match="free"):
        small.spawn(ops=small.engine(session=fresh))
    assert small.world() == before


@pytest.mark.parametrize("way", WAYS)
def test_one_that_becomes_full_in_mid_upload_leaves_nothing(
    small: Bench, images: Images, way: str
) -> None:
    held = Held(images)
    before = small.world()
    failed: list[BaseException] = []

    def spawn() -> None:
        try:
            small.spawn(way, ops=small.engine(images=held))
        except BaseException as error:  # noqa: BLE001 - looked at below
            failed.append(error)

    spawning = threading.Thread(target=spawn)
    spawning.start()
    assert held.half_way.wait(30)
    fill(small, leave=MIB // 10)
    held.go_on.set()
    spawning.join(60)
    small.session.file_manager.delete(FILLERS)
    assert [type(error) for error in failed] == [NoDiskSpace], failed
    matrix.check_undone(failed[0])
    assert small.vms() == before[0]
    matrix.check_files(small, before[1])


# The server killed


@pytest.mark.parametrize("way", WAYS)
def test_a_lab_killed_in_mid_upload_has_nothing_left_after_recovery(
    images: Images, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Reads are repeated for some seconds in the hope that the server comes back; here it does not.
    monkeypatch.setattr(retry, "delays", lambda window_s: iter((0.1, 0.3)))
    held = Held(images)
    first = LabBackend("lab")
    second = None
    try:
        session = first.connect()
        session.inventory.wait_fresh()
        bench = Bench(backend=first, session=session, images=images)
        before = bench.world()
        failed: list[BaseException] = []
        instance = an_instance()

        def spawn() -> None:
            try:
                bench.spawn(way, ops=bench.engine(images=held), instance=instance)
            except BaseException as error:  # noqa: BLE001 - looked at below
                failed.append(error)

        spawning = threading.Thread(target=spawn)
        spawning.start()
        assert held.half_way.wait(30)
        first.lab.kill()
        held.go_on.set()
        spawning.join(90)
        assert [type(error) for error in failed] == [ConnectionLost], failed
        session.close()
        second = LabBackend("lab", state_of=first)
        again = Bench(backend=second, session=second.connect(), images=images)
        # The owner of what is left is this process: it must not count as alive.
        found = recovery.find_work(again.session, again.settings, dead=in_flight.owner())
        for leftover in found:
            assert leftover.is_left
            leftovers.remove_leftover(again.session, leftover)
        assert again.vms() == before[0]
        matrix.check_files(again, before[1])
        spawned = again.spawn(way, instance=instance)
        assert again.power(spawned) == "poweredOn"
        again.session.close()
    finally:
        if second is not None:
            second.close()
        first.close()


# The process interrupted


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_in_mid_upload_takes_everything_back(bench: Bench, way: str) -> None:
    before = bench.world()
    with spawning(bench, way) as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert "KeyboardInterrupt" in output
        assert "Could not" not in output
    assert bench.vms() == before[0]
    matrix.check_files(bench, before[1])


@pytest.mark.parametrize("way", WAYS)
def test_what_a_killed_process_left_is_found_and_removed(bench: Bench, way: str) -> None:
    before = bench.world()
    with spawning(bench, way) as process:
        process.kill()
        process.communicate(timeout=30)
    # An import's VM goes with its lease; until then it is one of the leftovers.
    found = recovery.find_leftovers(bench.session, bench.settings)
    assert "unfinished spawn" in {leftover.kind for leftover in found}
    if way != "streamOptimized":
        assert "unfinished image transfer" in {leftover.kind for leftover in found}
    for leftover in found:
        leftovers.remove_leftover(bench.session, leftover)
    assert recovery.find_leftovers(bench.session, bench.settings) == []
    assert bench.vms() == before[0]
    matrix.check_files(bench, before[1])


def test_an_import_whose_vm_goes_meanwhile_leaves_no_folder(bench: Bench) -> None:
    """The lease ends between the look and the removal, and its VM with it."""
    files.local(bench.root(), f"[{bench.backend.datastore}] vmops_base").mkdir()
    before = bench.world()
    folder = DatastorePath("datastore1", "vmops_base").joined("tmp-given-up")
    bench.session.file_manager.make_directory(folder)
    gone = bench.spawn(power_on=False)
    vm = VirtualMachine.of(bench.session, bench.vm(gone)._GetMoId())
    bench.ops.destroy(gone, None)
    given_up = in_flight.Mark.parse(in_flight.nobodys_mark("image transfer"))
    left = leftovers.Leftover(
        kind="unfinished image import",
        name="vmops-import-given-up",
        judgment=in_flight.judge(given_up),
        vm=vm,
        folder=folder,
    )
    leftovers.remove_leftover(bench.session, left)
    assert bench.vms() == before[0]
    matrix.check_files(bench, before[1])


def test_what_a_living_process_is_at_is_left_alone(bench: Bench) -> None:
    with spawning(bench, "flat") as process:
        assert recovery.find_leftovers(bench.session, bench.settings) == []
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@contextmanager
def spawning(bench: Bench, way: str) -> Iterator[subprocess.Popen[str]]:
    """A process that spawns and stands in the middle of an upload."""
    lab: Lab = matrix.lab_of(bench)
    with subprocess.Popen(
        [sys.executable, "-c", program(), str(bench.images.store.directory), way],
        cwd=PROJECT,
        env=environment(lab),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.strip() == HELD, line + process.stdout.read()
            time.sleep(0.1)
            yield process
        finally:
            process.kill()
