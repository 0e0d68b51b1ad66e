"""One operation at a time on an instance."""

from __future__ import annotations

import pytest

from vmops.errors import Busy
from vmops.ops.locks import InstanceLocks


def test_the_second_is_told_what_the_first_is() -> None:
    locks = InstanceLocks()
    with (
        locks.exclusive("a", "spawn"),
        pytest.raises(Busy, match="spawn"),
        locks.exclusive("a", "destroy"),
    ):
        raise AssertionError


def test_other_instances_are_free() -> None:
    locks = InstanceLocks()
    with locks.exclusive("a", "spawn"), locks.exclusive("b", "spawn"):
        pass


def test_it_is_free_again_after_a_failure() -> None:
    locks = InstanceLocks()
    with pytest.raises(ZeroDivisionError), locks.exclusive("a", "spawn"):
        raise ZeroDivisionError
    with locks.exclusive("a", "destroy"):
        pass
