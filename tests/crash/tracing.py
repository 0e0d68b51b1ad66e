"""Where a process's memory goes: what the second half of a time has allocated and not freed."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc


def trace(end: float) -> None:
    """Print it shortly before ``end``, a time of `time.monotonic`."""
    tracemalloc.start(12)
    time.sleep(max(0.0, (end - time.monotonic()) / 2))
    gc.collect()
    before = tracemalloc.take_snapshot()
    time.sleep(max(0.0, end - time.monotonic() - 5))
    gc.collect()
    after = tracemalloc.take_snapshot()
    for each in after.compare_to(before, "traceback")[:12]:
        print(f"+{each.size_diff / 1024:.0f} KiB in {each.count_diff} blocks")  # noqa: T201
        print("\n".join(each.traceback.format()[-8:]), flush=True)  # noqa: T201


def trace_beside(seconds: float) -> None:
    """The same on a thread, for a process that is busy."""
    end = time.monotonic() + seconds
    threading.Thread(target=trace, args=(end,), daemon=True).start()
