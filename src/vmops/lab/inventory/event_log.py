"""What has happened in the lab, written down when it happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from pyVmomi import vim

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.sessions import current_session

KEPT = 1000
"""Events kept; the oldest goes for one more. An ESXi host keeps as many."""


_event = vim.event
_ARGUMENTS: dict[type, tuple[str, type[vim.event.EventArgument], str]] = {
    vim.VirtualMachine: ("vm", _event.VmEventArgument, "vm"),
    vim.HostSystem: ("host", _event.HostEventArgument, "host"),
    vim.Datacenter: ("datacenter", _event.DatacenterEventArgument, "datacenter"),
    vim.Datastore: ("ds", _event.DatastoreEventArgument, "datastore"),
    vim.ComputeResource: (
        "computeResource",
        _event.ComputeResourceEventArgument,
        "computeResource",
    ),
}


class EventLog:
    """Keeps the latest events."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._kept: deque[vim.event.Event] = deque(maxlen=KEPT)
        self._number = 0
        self._listener: Callable[[], None] = lambda: None

    def follow(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each event from now on."""
        self._listener = listener

    @property
    def events(self) -> list[vim.event.Event]:
        """The events kept, oldest first."""
        return list(self._kept)

    def post(
        self, event: vim.event.Event, entity: ManagedEntity | None, message: str
    ) -> vim.event.Event:
        """Write an event down; what it has to say of the entity's surroundings is filled in."""
        self._number += 1
        session = current_session.get(None)
        event.key = event.chainId = self._number
        event.createdTime = datetime.now(UTC)
        event.userName = "" if session is None else session.user
        event.fullFormattedMessage = message
        if entity is not None:
            self._surround(event, entity)
        self._kept.append(event)
        self._listener()
        return event

    def _surround(self, event: vim.event.Event, entity: ManagedEntity) -> None:
        """Name the entity, what it is in, and the host a machine is on."""
        around: list[ManagedEntity] = []
        above: ManagedEntity | None = entity
        while above is not None:
            around.append(above)
            above = above.parent
        if entity.wire_type is vim.VirtualMachine:
            host = self._kernel.registry.find(entity.properties["runtime"].host, ManagedEntity)
            around += [host] if host.parent is None else [host, host.parent]
        for each in around:
            for wire_type, (name, kind, field) in _ARGUMENTS.items():
                if issubclass(each.wire_type, wire_type) and getattr(event, name) is None:
                    setattr(event, name, kind(name=each.name, **{field: each.ref}))
