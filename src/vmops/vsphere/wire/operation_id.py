"""One id per operation, in our log and in the server's.

The id travels in the ``operationID`` header of every call, which vCenter, ESXi and the lab write
into their logs and into the tasks they start.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

operation_id: ContextVar[str] = ContextVar("operation_id", default="")


@contextmanager
def operation(name: str) -> Iterator[str]:
    """Mark the calls made inside: ``operation("spawn")`` gives "vmops-spawn-1a2b3c4d".

    An operation inside another keeps the outer one's id as its beginning.
    """
    outer = operation_id.get() or "vmops"
    current = f"{outer}-{name}-{secrets.token_hex(4)}"
    token = operation_id.set(current)
    try:
        yield current
    finally:
        operation_id.reset(token)
