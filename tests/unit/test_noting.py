"""Cleaning up inside a step: the first error stays the first."""

from __future__ import annotations

import pytest

from vmops.steps import noting


def test_a_clean_up_that_fails_is_noted_and_not_raised() -> None:
    first = ZeroDivisionError()
    with noting(first, "delete the disk"):
        raise OSError("no answer")
    assert first.__notes__ == ["Could not delete the disk: no answer"]


def test_one_that_works_leaves_no_note() -> None:
    first = ZeroDivisionError()
    with noting(first, "delete the disk"):
        pass
    assert not hasattr(first, "__notes__")


def test_ctrl_c_in_a_clean_up_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt), noting(ZeroDivisionError(), "delete the disk"):
        raise KeyboardInterrupt
