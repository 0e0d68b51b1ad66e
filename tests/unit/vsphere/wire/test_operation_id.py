from __future__ import annotations

import re
import threading

from vmops.vsphere.wire.operation_id import operation, operation_id


def test_names_the_operation_while_it_lasts() -> None:
    assert operation_id.get() == ""
    with operation("spawn") as current:
        assert operation_id.get() == current
        assert re.fullmatch("vmops-spawn-[0-9a-f]{8}", current)
    assert operation_id.get() == ""


def test_an_operation_inside_keeps_the_outer_id() -> None:
    with operation("resize") as outer, operation("power-off") as inner:
        assert inner.startswith(f"{outer}-power-off-")


def test_other_threads_have_their_own() -> None:
    seen = []
    with operation("spawn"):
        thread = threading.Thread(target=lambda: seen.append(operation_id.get()))
        thread.start()
        thread.join()
    assert seen == [""]
