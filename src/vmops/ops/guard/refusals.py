"""What the server refuses, said of the instance: its name, its state, and what to do about it.

A refusal in the server's own words says neither which instance it is about nor what helps. Only
where one comes is anything looked up: an operation that is not refused costs no call more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vmops.errors import (
    Busy,
    Conflict,
    InvalidPowerState,
    InvalidState,
    QuestionPending,
    Unavailable,
    VMOpsError,
)
from vmops.ops.guard.preconditions import is_at_rest, marks_of, pass_over_marks, refuse_template
from vmops.ops.guard.states import called, must_run, read_state
from vmops.vsphere.objects.lookup import find_vm, unless_gone
from vmops.vsphere.objects.recent_tasks import running_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

_CONNECTION = "runtime.connectionState"
_CONNECTED = "connected"
_TEMPLATE = "config.template"
_UNREACHABLE = {
    "inaccessible": "is inaccessible: its files cannot be read. Bring its datastore back first.",
    "invalid": "is invalid: its configuration cannot be understood. Mend its .vmx file first.",
    "orphaned": "is orphaned: its host does not know it any more. Register it there again first.",
}
_IN_THE_SERVERS_WORDS = frozenset({Conflict, InvalidPowerState, Busy, QuestionPending, Unavailable})


@contextlib.contextmanager
def explained(session: Session, instance_uuid: str) -> Iterator[None]:
    """Tell of a refusal which instance it is about, in which state that is, and what to do.

    Raises:
        InvalidState: its host is not connected, or its files cannot be read.
        InvalidPowerState: it is in another power state than this needs.
        Busy: the server works on it; the message says what at, since when and for whom.
    """
    try:
        yield
    except (Conflict, Unavailable) as refused:
        if type(refused) not in _IN_THE_SERVERS_WORDS or instance_uuid in str(refused):
            raise
        better = None
        with contextlib.suppress(VMOpsError):  # then the server's words are all there is
            better = _explain(session, instance_uuid, refused)
        if better is None:
            raise
        for note in getattr(refused, "__notes__", ()):
            better.add_note(note)
        raise better from refused


def refuse_early(session: Session, instance_uuid: str) -> None:
    """Let only instances through that can be reached and that nobody works on, as far as is known.

    What is known costs no call; a session that has not loaded its inventory knows nothing, and
    hears of it from the server, or from the operation's first look.

    Raises:
        InvalidState: the host is not connected, or the files cannot be read; or it is a template.
        Busy: another process works on it; the message says at what, and who.
    """
    if not session.inventory.is_loaded:
        return
    known = session.inventory.vm_by_uuid(instance_uuid)
    if known is None:
        return
    # What the stream told may be older than the VM: ask before refusing. That it is gone is for
    # the operation to say.
    vm = VirtualMachine(session, known.moref, instance_uuid)
    with unless_gone(vm):
        if known.connection_state not in {"", _CONNECTED}:
            why = _unreachable(session, vm)
            if why is not None:
                raise InvalidState(why)
        if known.template:
            is_template = bool(vm.read(_TEMPLATE).get(_TEMPLATE))
            refuse_template(called(vm), is_template=is_template)
        if any(not is_at_rest(each) for each in marks_of(known.settings).values()):
            pass_over_marks(vm, called(vm), read_state(vm).settings)


def _explain(session: Session, instance_uuid: str, refused: VMOpsError) -> VMOpsError | None:
    vm = find_vm(session, instance_uuid)
    if isinstance(refused, QuestionPending):
        text = str(refused).replace("The virtual machine asks", "waits for an answer. It asks", 1)
        return QuestionPending(f"{called(vm)} {text}")
    if isinstance(refused, Busy):
        return _busy(session, vm)
    if (why := _unreachable(session, vm)) is not None:
        return InvalidState(why)
    if isinstance(refused, InvalidPowerState):
        return InvalidPowerState(must_run(called(vm), read_state(vm)))
    return None


def _unreachable(session: Session, vm: VirtualMachine) -> str | None:
    found = vm.read(_CONNECTION, "runtime.host")
    state, name = str(found.get(_CONNECTION) or _CONNECTED), called(vm)
    if state == _CONNECTED:
        return None
    if state in _UNREACHABLE:
        return f"{name} {_UNREACHABLE[state]}"
    host = found.get("runtime.host")
    known = session.inventory.hosts() if session.inventory.has_places else ()
    host_name = next((f" {h.name}" for h in known if host and h.moid == host._moId), "")
    return f"{name} is {state}: its host{host_name} is not connected. Reconnect the host first."


def _busy(session: Session, vm: VirtualMachine) -> Busy | None:
    tasks = running_tasks(session, vm.moref)
    if not tasks:
        return None
    what = ", ".join(
        task.description
        + (f" has been running since {task.since:%H:%M:%S}" if task.since else " is waiting")
        + (f" for {task.user}" if task.user else "")
        for task in tasks
    )
    return Busy(f"{called(vm)} is busy: {what}.")
