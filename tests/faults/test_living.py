"""What lives is never removed, wherever it lives; what was taken from a stopped one is lost to it.

Every operation that is marked is held in the middle by a process of its own, all at once.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.backends import second_view
from tests.builders import a_uuid, an_image_store
from tests.contract.engine import Bench
from tests.faults.living import ADDING, AROUND, LEASE_S, Work, Worker, held, permitted
from vmops import DirectoryImageStore, in_flight
from vmops.in_flight import Verdict
from vmops.ops.instances.leftovers import Leftover, remove_leftover
from vmops.ops.instances.recovery import find_work, watch_work

# What is held where, and how the audit calls what it works on.
MOMENTS = {
    "spawn": ("Upload the image in its place", ["unfinished image transfer", "unfinished spawn"]),
    "import": (
        "Move its disk out of the imported VM",
        ["unfinished image import", "unfinished image transfer", "unfinished spawn"],
    ),
    "resize": ("Change the size, and exchange the root disk", ["interrupted resize"]),
    "rescue": ("Copy the image to the rescue disk", ["interrupted rescue"]),
    "snapshot": ("Upload the disk to the image store", ["unfinished snapshot"]),
    "add image": (ADDING, ["unfinished image"]),
}
KINDS = sorted(kind for _, kinds in MOMENTS.values() for kind in kinds)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight.TIMING, "lease_s", LEASE_S)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> DirectoryImageStore:
    return an_image_store(tmp_path_factory.mktemp("living") / "images").store


class Stage:
    """All operations, each held in the middle."""

    def __init__(self, bench: Bench, store: DirectoryImageStore, stack: ExitStack) -> None:
        self.bench, self.store = bench, store
        self._stack = stack
        self.workers: dict[str, Worker] = {}

    def begin(self, *around: str) -> None:
        for name, (moment, _) in MOMENTS.items():
            is_there = name in {"resize", "rescue", "snapshot"}
            uuid = self.bench.spawn("flat").uuid if is_there else a_uuid()
            work = Work(
                do=name,
                held_at=moment,
                uuid=uuid,
                images=str(self.store.directory),
                datastore=self.bench.settings.datastore or "",
            )
            worker = self._stack.enter_context(held(self.bench.control.lab, work, *around))
            self.workers[name] = worker

    def look(self, dead: str = "") -> list[Leftover]:
        return find_work(self.bench.session, self.bench.settings, self.store, dead)

    def watch(self) -> list[Leftover]:
        """Look for longer than a lease, also at what a living process is at."""
        return watch_work(self.look, 2 * LEASE_S, all_of=True)

    def uuid(self, name: str) -> str:
        return self.workers[name].work.uuid


@pytest.fixture
def stage(bench: Bench, store: DirectoryImageStore) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(bench, store, stack)


def kinds(found: list[Leftover]) -> list[str]:
    return sorted(each.kind for each in found)


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_an_audit_leaves_what_lives_alone(stage: Stage, around: tuple[str, ...]) -> None:
    permitted(around)
    stage.begin(*around)
    end = time.monotonic() + 3 * LEASE_S
    while time.monotonic() < end:
        found = stage.watch()
        assert [(each.name, each.judgment.why) for each in found if each.is_left] == []
        assert kinds(found) == KINDS
        assert {each.judgment.verdict for each in found} <= {Verdict.RENEWED, Verdict.ALIVE}
    told = {name: worker.go_on() for name, worker in stage.workers.items()}
    assert told == {name: {} for name in MOMENTS}
    assert stage.look() == []
    bench = stage.bench
    for name in ("spawn", "import", "rescue"):
        assert bench.power(stage.uuid(name)) == "poweredOn"
    for name in ("spawn", "import", "rescue", "resize", "snapshot"):
        settings = second_view.extra_config(bench.vm(stage.uuid(name)))
        assert not settings.get("vmops.worker")
        assert not settings.get("vmops.operation")
    assert {"made", "added"} < {image.name for image in stage.store.list()}


def test_what_is_taken_from_a_stopped_process_is_lost_to_it(stage: Stage) -> None:
    """It finds out before its next change, stops, says so, and takes nothing back."""
    stage.begin()
    for worker in stage.workers.values():
        worker.signal(signal.SIGSTOP)
    found = stage.watch()
    left = [each for each in found if each.is_left]
    # A file's lock is the system's: it lasts as long as the process does.
    assert kinds([each for each in found if not each.is_left]) == ["unfinished image"]
    assert {each.judgment.verdict for each in left} == {Verdict.EXPIRED}
    for each in left:
        remove_leftover(stage.bench.session, each)
    assert kinds(stage.look()) == ["unfinished image"]
    before = facts(stage)
    for worker in stage.workers.values():
        worker.signal(signal.SIGCONT)
    told = {name: worker.go_on() for name, worker in stage.workers.items()}
    assert told.pop("add image") == {}
    for name, ended in told.items():
        assert ended.get("error") == "LeaseLost", (name, ended)
        assert "was taken over" in ended["text"]
        assert "changes nothing there any more" in ended["text"]
    for name in ("spawn", "import", "resize", "rescue"):
        assert any("Could not undo" in note for note in told[name]["notes"]), told[name]
    assert facts(stage) == before


def facts(stage: Stage) -> Any:
    """The machines, with what is noted on them, and all files."""
    machines = {
        name: (
            vm and bool(second_view.properties(vm, "snapshot")),
            vm and second_view.extra_config(vm),
            vm and stage.bench.power(uuid),
        )
        for name, uuid in ((name, stage.uuid(name)) for name in MOMENTS)
        for vm in [stage.bench.vm(uuid) if uuid else None]
    }
    return stage.bench.world(), machines


def test_what_an_operator_declares_dead_is_taken_at_once(stage: Stage) -> None:
    """Of that owner alone; and it is taken as everything is, so that the owner finds out."""
    stage.begin()
    victim = stage.workers["spawn"]
    (mark,) = (
        each.judgment.mark
        for each in stage.look()
        if each.kind == "unfinished spawn" and str(victim.pid) == each.judgment.mark.pid
    )
    left = [each for each in stage.look(mark.owner) if each.is_left]
    assert kinds(left) == sorted(MOMENTS["spawn"][1])
    assert {each.judgment.verdict for each in left} == {Verdict.DECLARED}
    for each in left:
        remove_leftover(stage.bench.session, each)
    time.sleep(LEASE_S)
    told = {name: worker.go_on() for name, worker in stage.workers.items()}
    assert told.pop("spawn")["error"] == "LeaseLost"
    assert told == {name: {} for name in told}
    assert stage.bench.vm(stage.uuid("spawn")) is None
