"""One operation at a time on an instance."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vmops.errors import Busy
from vmops.ops.guard.locks import InstanceLocks


def test_the_second_is_told_what_the_first_is_and_since_when() -> None:
    locks = InstanceLocks("here")
    with (
        locks.exclusive("a", "spawn"),
        pytest.raises(Busy, match=r"a is busy: spawn has been running since \d\d:\d\d:\d\d\."),
        locks.exclusive("a", "destroy"),
    ):
        raise AssertionError


def test_an_instance_is_held_for_all_engines_at_its_endpoint() -> None:
    with (
        InstanceLocks("here").exclusive("A", "spawn"),
        InstanceLocks("there").exclusive("a", "spawn"),
        pytest.raises(Busy, match="spawn"),
        InstanceLocks("here").exclusive("a", "destroy"),
    ):
        raise AssertionError


def test_what_is_to_come_after_the_same_waits_for_it() -> None:
    locks, begun, order = InstanceLocks("here"), threading.Event(), []

    def first() -> None:
        with locks.exclusive("a", "power off", after_same=True):
            begun.set()
            time.sleep(0.2)
            order.append("first")

    def second() -> None:
        begun.wait(5.0)
        with locks.exclusive("a", "power off", after_same=True):
            order.append("second")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert order == ["first", "second"]


def test_what_is_to_come_after_the_same_does_not_wait_for_another() -> None:
    locks = InstanceLocks("here")
    with (
        locks.exclusive("a", "spawn"),
        pytest.raises(Busy, match="spawn"),
        locks.exclusive("a", "power off", after_same=True),
    ):
        raise AssertionError


def test_other_instances_are_free() -> None:
    locks = InstanceLocks("here")
    with locks.exclusive("a", "spawn"), locks.exclusive("b", "spawn"):
        pass


def test_it_is_free_again_after_a_failure() -> None:
    locks = InstanceLocks("here")
    with pytest.raises(ZeroDivisionError), locks.exclusive("a", "spawn"):
        raise ZeroDivisionError
    with locks.exclusive("a", "destroy"):
        pass


def test_what_is_a_part_may_be_done_inside_what_holds_the_instance() -> None:
    locks = InstanceLocks("here")
    with locks.exclusive("A", "spawn"):
        with InstanceLocks("here").exclusive("a", "attach volume", is_part=True):
            pass
        with ThreadPoolExecutor(1) as pool:  # which is not inside
            other = pool.submit(_attach, locks)
            with pytest.raises(Busy, match="spawn"):
                other.result()
        with pytest.raises(Busy, match="spawn"), locks.exclusive("a", "destroy"):
            raise AssertionError
    _attach(locks)


def _attach(locks: InstanceLocks) -> None:
    with locks.exclusive("a", "attach volume", is_part=True):
        pass
