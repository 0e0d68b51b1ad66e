"""Tickets for a guest's console: hard to guess, good for one connection, and soon gone.

A ticket is kept as its hash alone, and is in no log: whoever has it has the guest's keyboard.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.lab_address import lab_address
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.sessions import Session, current_session
from vmops.lab.machine.machine import Machine
from vmops.lab.operations.power import require_on

LIFETIME_S = 45.0
"""How long a ticket waits for its connection."""
TICKET_BYTES = 20
_CONSOLES = ("webmks", "mks")
_KINDS = frozenset(str(each) for each in vim.VirtualMachine.TicketType.values)


@dataclass(frozen=True, slots=True)
class _Issued:
    machine: str
    session: Session
    expires: float


@dataclass(slots=True)
class ConsoleTickets:
    """The tickets that wait for their connection, and how many consoles are open."""

    kernel: Kernel
    clock: Callable[[], float] = time.monotonic
    _issued: dict[str, _Issued] = field(default_factory=dict)

    def watch(self) -> None:
        """From now on let a machine's tickets go when it is turned off or is gone."""
        self.kernel.on_change(self._changed)

    def issue(self, vm: Machine) -> str:
        """Return a new ticket for a machine's console, bound to the session that asks."""
        now = self.clock()
        for name, issued in list(self._issued.items()):
            if issued.expires < now:
                self._drop(name)
        ticket = secrets.token_hex(TICKET_BYTES)
        name = _hashed(ticket)
        session = current_session.get()
        self._issued[name] = _Issued(vm.moid, session, now + LIFETIME_S)
        session.holdings[name] = lambda: self._drop(name)
        return ticket

    def redeem(self, ticket: str) -> tuple[str, Session] | None:
        """Use a ticket up; the id of its machine and the session that asked for it.

        None if it is no good any more.
        """
        name = _hashed(ticket)
        issued = self._issued.get(name)
        self._drop(name)
        if issued is None or issued.expires < self.clock():
            return None
        return issued.machine, issued.session

    def _drop(self, name: str) -> None:
        issued = self._issued.pop(name, None)
        if issued is not None:
            issued.session.holdings.pop(name, None)

    def _changed(self, obj: ManagedObject, paths: Collection[str]) -> None:
        if obj.wire_type is not vim.VirtualMachine or not self._issued:
            return
        if paths and "runtime.powerState" not in paths:
            return
        if not paths or obj.properties["runtime"].powerState != "poweredOn":
            for name, issued in list(self._issued.items()):
                if issued.machine == obj.moid:
                    self._drop(name)


def _hashed(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


async def acquire(vm: Machine, kind: str) -> vim.VirtualMachine.Ticket:
    """Return a VirtualMachineTicket for the machine's console.

    ``webmks`` says the URL of a WebSocket that carries RFB; ``mks`` has no URL, and is redeemed at
    the same place, for the lab does not speak VMware's own console protocol.

    Raises:
        vim.fault.InvalidPowerState: the machine is not on.
        vmodl.fault.HostNotConnected: its host is disconnected.
        vmodl.fault.NotSupported: a ticket for something else than the console.
        vmodl.fault.InvalidArgument: there is no such kind of ticket.
    """
    if kind not in _KINDS:
        raise invalid_argument("ticketType", f"There is no ticket '{kind}'.")
    if kind not in _CONSOLES:
        raise vmodl.fault.NotSupported(msg=f"The lab has no {kind} tickets.")
    vm.host.require_connected()
    require_on(vm)
    address = await vm.kernel.blocking(lab_address, vm.kernel.settings)
    require_on(vm)
    ticket = vm.kernel.service(ConsoleTickets).issue(vm)
    host, _, port = address.base_url.removeprefix("https://").partition(":")
    return vim.VirtualMachine.Ticket(
        ticket=ticket,
        cfgFile=vm.vmx_path,
        host=host,
        port=int(port),
        sslThumbprint=address.thumbprint,
        url=f"wss://{host}:{port}/ticket/{ticket}" if kind == "webmks" else None,
    )


async def acquire_mks(vm: Machine) -> vim.VirtualMachine.MksTicket:
    """Return a ticket as clients before vSphere 4.1 ask for it; see `acquire`."""
    ticket = await acquire(vm, "mks")
    return vim.VirtualMachine.MksTicket(
        ticket=ticket.ticket,
        cfgFile=ticket.cfgFile,
        host=ticket.host,
        port=ticket.port,
        sslThumbprint=ticket.sslThumbprint,
    )
