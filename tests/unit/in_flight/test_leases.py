"""Leases: renewed while they are held, asked for before each change, and lost for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vmops import in_flight
from vmops.context import undoing
from vmops.errors import Busy, ConnectionLost, FileNotFound, LeaseLost, VMOpsError
from vmops.in_flight import Lease, keeping, leases
from vmops.in_flight.timing import TIMING, owners_clock


class Place:
    """Where a mark stands: changed only from what it is."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.written: list[str] = []
        self.failure: VMOpsError | None = None

    def replace(self, old: str, new: str) -> None:
        if self.failure is not None:
            raise self.failure
        if self.text != old:
            raise LeaseLost("The thing", "resize", self.text)
        self.text = new
        self.written.append(new)

    def lease(self, since: float | None = None) -> Lease:
        return Lease("The thing", "resize", self.replace, text=self.text, since=since)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(TIMING, "lease_s", 0.6)
    monkeypatch.setattr(TIMING, "renew_s", 0.2)
    yield
    time.sleep(0.01)
    assert not leases._held.get()


LONG_AGO = 1.0


def wait_for(place: Place, number: int) -> None:
    end = time.monotonic() + 5.0
    while len(place.written) < number:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_short_renews_nothing() -> None:
    place = Place("resize x 1")
    with in_flight.holding(place.lease()):
        in_flight.check()
        time.sleep(0.1)
        in_flight.check()
    time.sleep(0.3)
    assert place.written == []


def test_what_is_long_is_renewed_again_and_again_until_its_end() -> None:
    place = Place("resize x 1")
    with in_flight.holding(place.lease()) as lease:
        begin = time.monotonic()
        wait_for(place, 3)
        assert time.monotonic() - begin >= 0.59
        in_flight.check()
        assert lease.text == place.text
    number = len(place.written)
    assert len(set(place.written)) == number
    time.sleep(0.5)
    assert len(place.written) == number


def test_who_comes_back_makes_sure_before_the_next_change() -> None:
    place = Place("resize x 1")
    with in_flight.holding(place.lease(since=owners_clock() - LONG_AGO)):
        in_flight.check()
        assert len(place.written) == 1
        in_flight.check()
    assert len(place.written) == 1


def test_who_comes_back_too_late_has_lost_it_for_good() -> None:
    place = Place("resize x 1")
    with in_flight.holding(place.lease(since=owners_clock() - LONG_AGO)):
        place.text = "rescue y 7"
        for _ in range(2):
            with pytest.raises(LeaseLost, match=r"taken over .marked 'rescue y 7' now. while"):
                in_flight.check()
        place.text = "resize x 1"
        with pytest.raises(LeaseLost):
            in_flight.check()
    assert place.written == []
    in_flight.check()


def test_a_thing_that_is_gone_is_lost() -> None:
    place = Place("resize x 1")
    place.failure = FileNotFound("the thing")
    lease = place.lease(since=owners_clock() - LONG_AGO)
    with in_flight.holding(lease), pytest.raises(LeaseLost, match="The thing was taken over"):
        in_flight.check()


def test_nobody_goes_on_who_cannot_make_sure() -> None:
    place = Place("resize x 1")
    place.failure = ConnectionLost("The server is gone.")
    with in_flight.holding(place.lease(since=owners_clock() - LONG_AGO)):
        with pytest.raises(ConnectionLost):
            in_flight.check()
        place.failure = None
        in_flight.check()


def test_a_task_in_the_way_is_no_loss() -> None:
    """The mark was read just then, and was its own."""
    place = Place("resize x 1")
    place.failure = Busy("A task runs.")
    with in_flight.holding(place.lease(since=owners_clock() - LONG_AGO)):
        in_flight.check()
        place.failure = None
        wait_for(place, 1)


def test_what_is_taken_back_asks_for_the_innermost_alone() -> None:
    outer, inner = Place("spawn x 1"), Place("tmp x 2")
    with in_flight.holding(outer.lease(since=owners_clock() - LONG_AGO)):
        outer.text = "spawn y 1"
        with in_flight.holding(inner.lease()):
            with pytest.raises(LeaseLost):
                in_flight.check()
            with undoing():
                in_flight.check()
        with undoing(), pytest.raises(LeaseLost):
            in_flight.check()


def test_nothing_is_renewed_while_the_operation_is_at_work_on_the_thing() -> None:
    place = Place("resize x 1")
    with in_flight.holding(place.lease()):
        with in_flight.at_work():
            time.sleep(0.5)
            assert place.written == []
        wait_for(place, 1)


def test_a_change_that_takes_the_mark_off_ends_it() -> None:
    place = Place("resize x 1")
    with in_flight.holding(place.lease(since=owners_clock() - LONG_AGO)):
        with in_flight.ending():
            place.text = ""
        in_flight.check()
        time.sleep(0.5)
    assert place.written == []


@pytest.mark.parametrize("text", ["resize x 1", ""])
@pytest.mark.parametrize("has_effect", [True, False])
def test_a_renewal_whose_answer_is_lost_is_no_loss(text: str, has_effect: bool) -> None:
    """What is written there is its own, whatever became of the call."""
    place = Place(text)
    answers = [False]
    replace = place.replace

    def lose(old: str, new: str) -> None:
        if answers:
            answers.pop()
            if has_effect:
                replace(old, new)
            raise ConnectionLost("The server is gone.")
        replace(old, new)

    lease = Lease("The thing", "resize", lose, text=text, since=owners_clock() - LONG_AGO)
    with in_flight.holding(lease):
        with pytest.raises(ConnectionLost):
            in_flight.check()
        in_flight.check()
        assert lease.text == place.text
        lease.take_off()
    assert place.text == ""


def test_a_first_mark_where_another_has_one_waits() -> None:
    """Two at once whose names tell them apart: neither has taken anything from the other."""
    place = Place("snapshot y 1")
    lease = Lease("The thing", "snapshot", place.replace, since=owners_clock() - LONG_AGO)
    with in_flight.holding(lease):
        in_flight.check()
        assert place.written == []
        place.text = ""
        in_flight.check()
        assert place.written


def test_a_fault_of_its_own_does_not_end_renewing() -> None:
    place, failures = Place("resize x 1"), [ValueError("a fault")]

    def fail(old: str, new: str) -> None:
        if failures:
            raise failures.pop()
        place.replace(old, new)

    with in_flight.holding(Lease("A thing", "resize", fail, text=place.text, group="faulty")):
        wait_for(place, 2)


@pytest.mark.parametrize("has_effect", [True, False])
def test_a_change_whose_answer_is_lost_may_have_ended_it(has_effect: bool) -> None:
    place = Place("resize x 1")
    since = owners_clock() - TIMING.late_s - 0.05
    with in_flight.holding(place.lease(since=since)):
        with pytest.raises(ConnectionLost), in_flight.ending():
            place.text = "" if has_effect else place.text
            raise ConnectionLost("The server is gone.")
        in_flight.check()
        assert len(place.written) == (0 if has_effect else 1)


def test_a_lease_of_one_thread_is_none_of_another() -> None:
    place, failures = Place("resize x 1"), []

    def elsewhere() -> None:
        try:
            in_flight.check()
        except VMOpsError as error:
            failures.append(error)

    with in_flight.holding(place.lease(since=owners_clock() - LONG_AGO)):
        place.text = "rescue y 1"
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert failures == []


def test_a_renewal_that_hangs_delays_no_other_group() -> None:
    hanging, free = Place("resize x 1"), Place("resize x 2")
    release = threading.Event()

    def hang(_old: str, _new: str) -> None:
        release.wait(5.0)

    slow = Lease("A thing", "resize", hang, text=hanging.text, group="slow")
    quick = Lease("A thing", "resize", free.replace, text=free.text, group="quick")
    with in_flight.holding(slow), in_flight.holding(quick):
        wait_for(free, 3)
        release.set()


def test_the_thread_ends_when_there_is_nothing_to_renew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmops.in_flight.keeping._LINGER_S", 0.05)
    with in_flight.holding(Lease("A thing", "resize", Place("x").replace, text="x", group="own")):
        assert "vmops-renewing" in {thread.name for thread in threading.enumerate()}
    end = time.monotonic() + 5.0
    while any(group == "own" for group in keeping.KEEPERS._groups):
        assert time.monotonic() < end
        time.sleep(0.02)
