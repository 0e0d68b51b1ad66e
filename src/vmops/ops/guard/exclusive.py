"""What every change of an instance happens within."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from vmops.ops.guard.locks import InstanceLocks
from vmops.ops.guard.refusals import explained, refuse_early
from vmops.ops.guard.states import called_by_uuid
from vmops.vsphere.session import Session


def instance_locks(session: Session) -> InstanceLocks:
    """The locks on a session's endpoint."""
    return InstanceLocks(session.endpoint.identity, partial(called_by_uuid, session))


@contextlib.contextmanager
def alone(
    session: Session,
    locks: InstanceLocks,
    instance_uuid: str,
    purpose: str,
    *,
    after_same: bool = False,
    is_part: bool = False,
) -> Iterator[None]:
    """Have an instance for one operation.

    See `InstanceLocks.exclusive` for ``after_same`` and ``is_part``.

    Raises:
        Busy: another operation works on it.
        InvalidState: its host is not connected, or its files cannot be read.
        VMOpsError: what the operation raises, in words that name the instance.
    """
    with (
        locks.exclusive(instance_uuid, purpose, after_same=after_same, is_part=is_part),
        explained(session, instance_uuid),
    ):
        refuse_early(session, instance_uuid)
        yield
