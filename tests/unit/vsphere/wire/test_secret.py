from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from vmops.vsphere.wire.secret import Secret

SECRET = Secret("hunter2")


def test_shows_itself_nowhere() -> None:
    assert SECRET.reveal() == "hunter2"
    shown = [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET!r:>30}", repr([SECRET])]
    assert not any("hunter2" in text for text in shown)


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
def test_is_not_copied_or_pickled(leak: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        leak(SECRET)
