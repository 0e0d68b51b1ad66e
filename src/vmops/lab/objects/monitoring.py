"""What watches the rest: events, figures, and the tickets that go with a machine's power."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.lab.objects.console_tickets import ConsoleTickets
from vmops.lab.objects.event_manager import EventManager
from vmops.lab.objects.events import EventLog

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel


def add_monitoring(kernel: Kernel) -> None:
    """Add them to a lab whose inventory is complete: what was restored is no event."""
    esx = kernel.settings.esx
    log = EventLog(kernel)
    kernel.provide(log)
    tickets = ConsoleTickets(kernel)
    kernel.provide(tickets)
    tickets.watch()
    kernel.add(EventManager(kernel, "ha-eventmgr" if esx else "EventManager", log))
