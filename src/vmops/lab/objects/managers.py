"""Managers that stand on a complete inventory: events, figures, consoles, volumes, OVF."""

from __future__ import annotations

from vmops.lab.inventory.event_log import EventLog
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.event_manager import EventManager
from vmops.lab.objects.ovf.manager import OvfManager
from vmops.lab.objects.performance_manager import PerformanceManager
from vmops.lab.objects.provisioning_checker import ProvisioningChecker
from vmops.lab.objects.vstorage_object_manager import (
    HostVStorageObjectManager,
    VStorageObjectManager,
)
from vmops.lab.operations.console_tickets import ConsoleTickets
from vmops.lab.operations.machine_events import MachineEvents
from vmops.lab.operations.performance_samples import PerformanceSamples


def add_monitoring(kernel: Kernel) -> None:
    """Add them to a lab whose inventory is complete: what was restored is no event."""
    esx = kernel.settings.esx
    log = EventLog(kernel)
    kernel.provide(log)
    MachineEvents(kernel, log).follow()
    tickets = ConsoleTickets(kernel)
    kernel.provide(tickets)
    tickets.watch()
    kernel.add(EventManager(kernel, "ha-eventmgr" if esx else "EventManager", log))
    samples = PerformanceSamples(kernel)
    kernel.provide(samples)
    kernel.add(PerformanceManager(kernel, "ha-perfmgr" if esx else "PerfMgr", samples))
    samples.start()
    manager = HostVStorageObjectManager if esx else VStorageObjectManager
    kernel.add(manager(kernel, "ha-vstorage-object-manager" if esx else "VStorageObjectManager"))
    kernel.add(OvfManager(kernel, "ha-ovf-manager" if esx else "OvfManager"))
    if not esx:
        kernel.add(ProvisioningChecker(kernel, "ProvChecker"))
