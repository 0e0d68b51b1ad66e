"""The marks in a VM's ``extraConfig``: replaced by a change that only one can win, and leased."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vmops import in_flight
from vmops.errors import Busy, LeaseLost, ManagedObjectNotFound, Unavailable
from vmops.model import extra_config
from vmops.ops.guard.states import called
from vmops.specs.virtual_machine import settings
from vmops.vsphere.objects.virtual_machine import VirtualMachine

log = logging.getLogger(__name__)

_VERSION = "config.changeVersion"
_ATTEMPTS = 4
# What tells that somebody began something.
_BEGUN_BY = (extra_config.OPERATION, extra_config.WORKER, extra_config.RESCUE, extra_config.RESIZE)


def replace_mark(
    vm: VirtualMachine, key: str, old: str, new: str, *, trust_inventory: bool = False
) -> None:
    """Change the mark at ``key`` from ``old`` to ``new``; "" is none.

    The change names the VM's ``changeVersion``, so that of several at once one wins. With
    ``trust_inventory`` both are first taken from the live inventory, which costs no call; the
    server refuses if that was out of date.

    Raises:
        LeaseLost: the mark is not ``old``; its ``now`` is what it is.
        Busy: the server works on the VM; the mark was ``old``.
        ManagedObjectNotFound: the VM is gone.
    """
    known = vm.known() if trust_inventory else None
    if known is not None and known.change_version and known.settings.get(key, "") == old:
        with contextlib.suppress(Busy):
            vm.reconfigure(settings({key: new}, known.change_version))
            return
    before = ""
    for attempt in range(_ATTEMPTS):
        found, version = _look(vm)
        mark = found.get(key, "")
        if mark != old:
            raise LeaseLost(called(vm), (old or new).split(" ")[0], mark)
        try:
            vm.reconfigure(settings({key: new}, version))
        except Busy:
            if version == before or attempt == _ATTEMPTS - 1:
                raise  # nobody has changed it meanwhile: a task is in the way
            before = version
        else:
            return


def _look(vm: VirtualMachine) -> tuple[dict[str, str], str]:
    """The ``extraConfig`` and the change version that go together, in one read."""
    found = vm.read("config.extraConfig", _VERSION)
    options = found.get("config.extraConfig") or ()
    return {str(o.key): str(o.value) for o in options}, str(found.get(_VERSION) or "")


class Outrun(Busy):
    """Another one began to work on the VM between the look and the first change: nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What a VM was seen with before the first change: its ``extraConfig`` and change version."""

    settings: Mapping[str, str]
    change_version: str


def begin_marked(vm: VirtualMachine, values: Mapping[str, str], seen: First) -> None:
    """Write the first notes of an operation, with its mark, if nobody has begun another one.

    Of several who begin at once one wins: the change names the change version of the look. What
    else has changed since is no hindrance.

    Raises:
        Outrun: another one has begun meanwhile.
        Busy: the server works on the VM.
    """
    version = seen.change_version
    for attempt in range(_ATTEMPTS):
        try:
            vm.reconfigure(settings(dict(values), version))
        except Busy:
            found, now = _look(vm)
            if any(found.get(key, "") != seen.settings.get(key, "") for key in _BEGUN_BY):
                mark = found.get(extra_config.WORKER) or "that has ended"
                raise Outrun(
                    f"{called(vm)} is busy: another operation began at the same time ({mark})."
                    " Nothing was changed."
                ) from None
            if now == version or attempt == _ATTEMPTS - 1:
                raise
            version = now
        else:
            return


@contextlib.contextmanager
def leased(
    vm: VirtualMachine, key: str, operation: str, text: str = "", since: float | None = None
) -> Iterator[in_flight.Lease]:
    """Have the VM for an operation whose mark is at ``key``; see `vmops.in_flight`.

    With no ``text`` the mark is written when the operation has taken long, and taken off at the
    end. ``since`` is when ``text`` was written.
    """

    def replace(old: str, new: str) -> None:
        replace_mark(vm, key, old, new, trust_inventory=True)

    if vm.session.is_planning:
        yield in_flight.Lease(called(vm), operation, replace, text=text)
        return
    lease = in_flight.Lease(
        called(vm), operation, replace, text=text, since=since, group=vm.session.client
    )
    with in_flight.holding(lease):
        yield lease


def take_off(vm: VirtualMachine, lease: in_flight.Lease) -> None:
    """End a lease whose work is done: take its mark off, if it was ever written.

    That it cannot be taken off is told; the mark expires by itself.
    """
    if lease.lost is not None:
        return
    try:
        lease.take_off()
    except (LeaseLost, ManagedObjectNotFound, Unavailable, Busy) as failure:
        log.warning(
            "The mark of %s on %s is not taken off: %s", lease.operation, called(vm), failure
        )
