"""What every change of an instance happens within."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial

from vmops.ops.guard.locks import InstanceLocks
from vmops.ops.guard.refusals import explained, refuse_early
from vmops.ops.guard.states import called_by_uuid
from vmops.vsphere.objects.questions import answers
from vmops.vsphere.session import Session
from vmops.vsphere.wire.operation_id import operation


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
    answered: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Have an instance for one operation, its name on every call to the server.

    With ``after_same`` an operation of the same purpose is waited for. ``answered`` is what to
    answer a machine that asks; see `vmops.vsphere.objects.questions.answers`.

    Raises:
        Busy: another operation works on it.
        InvalidState: its host is not connected, or its files cannot be read.
        VMOpsError: what the operation raises, in words that name the instance.
    """
    with (
        locks.exclusive(instance_uuid, purpose, after_same=after_same),
        operation(purpose.replace(" ", "_")),
        explained(session, instance_uuid),
        answers(answered or {}),
    ):
        refuse_early(session, instance_uuid)
        yield
