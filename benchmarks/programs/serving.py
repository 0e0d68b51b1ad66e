"""The programs' side of `benchmarks.workers`: JSON lines in, JSON lines out.

Each request names a handler; the answer carries what it returned and how long it took, measured
here, so that what passes between the processes does not count.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

Handler = Callable[..., Any]


def serve(handlers: Mapping[str, Handler]) -> None:
    """Answer requests until the input ends. What handlers print goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        answer = handled(handlers[request.pop("do")], request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def handled(handler: Handler, arguments: dict[str, Any]) -> dict[str, Any]:
    cpu = time.process_time()
    begin = time.perf_counter()
    try:
        result = handler(**arguments)
    except Exception:  # noqa: BLE001 - whatever failed is the answer
        return {"error": traceback.format_exc()}
    return {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu,
        "result": result,
    }


def timestamp(moment: datetime) -> float:
    """A wire time in seconds since 1970; one without a zone is UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
