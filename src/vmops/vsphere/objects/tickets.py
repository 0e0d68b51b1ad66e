"""Tickets for consoles of virtual machines."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A right to open one console once, soon. The ticket itself is a secret.

    ``host`` and ``port`` are where the WebSocket is; ``thumbprint`` is that of its certificate,
    SHA-256 where the server gives one, else SHA-1, else "".
    """

    ticket: str = field(repr=False)
    host: str
    port: int
    thumbprint: str
    url: str = field(repr=False)


def acquire_ticket(session: Session, vm: VirtualMachine, kind: str = "webmks") -> Ticket:
    """A ticket for the console of a running virtual machine.

    Raises:
        InvalidPowerState: it is not running.
        NotSupported: the endpoint gives no such tickets.
    """
    given = session.call(vm.moref, "AcquireTicket", ticketType=kind)
    address = session.client.pool.address
    host, port = str(given.host or address.host), int(given.port or 443)
    thumbprints = {
        str(one.hashAlgorithm).lower(): str(one.thumbprint)
        for one in getattr(given, "certThumbprintList", None) or ()
    }
    return Ticket(
        ticket=str(given.ticket),
        host=host,
        port=port,
        thumbprint=thumbprints.get("sha256") or str(given.sslThumbprint or ""),
        url=str(getattr(given, "url", None) or f"wss://{host}:{port}/ticket/{given.ticket}"),
    )
