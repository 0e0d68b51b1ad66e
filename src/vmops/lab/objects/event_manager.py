"""The event manager: what has happened, latest and by filter."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.event_log import EventLog
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.sessions import Session, current_session

_MOST_COLLECTORS = 32
_PAGE = 10


class EventManager(ManagedObject):
    """Tells of the events the lab keeps (see `EventLog`)."""

    wire_type = vim.event.EventManager

    def __init__(self, kernel: Kernel, moid: str, log: EventLog) -> None:
        super().__init__(kernel, moid)
        self._log = log
        self.properties["maxCollector"] = _MOST_COLLECTORS
        self.computed["latestEvent"] = self._latest
        log.follow(lambda: kernel.touch(self, "latestEvent"))

    def _latest(self) -> vim.event.Event | None:
        events = self._log.events
        return events[-1] if events else None

    def QueryEvents(
        self,
        filter: vim.event.EventFilterSpec,  # noqa: A002 - the wire's name
        eventViewSpec: object = None,
    ) -> list[vim.event.Event]:
        """Return the events that fit a filter, oldest first.

        Raises:
            vmodl.fault.NotSupported: the filter asks for alarms, scheduled tasks or tags.
            vmodl.fault.ManagedObjectNotFound: the entity is gone.
        """
        del eventViewSpec
        return matching(self.kernel, self._log, filter)

    def CreateCollectorForEvents(self, filter: vim.event.EventFilterSpec) -> Reference:  # noqa: A002 - the wire's name
        """Return a collector that pages through the events of a filter; it ends with its session.

        Raises:
            vim.fault.InvalidState: the session has too many.
        """
        matching(self.kernel, self._log, filter)
        session = current_session.get()
        held = [each for each in session.holdings if isinstance(each, EventHistoryCollector)]
        if len(held) >= _MOST_COLLECTORS:
            raise vim.fault.InvalidState(msg="The session has too many collectors.")
        moid = f"session[{session.key}]{self.kernel.new_moid('event')}"
        collector = EventHistoryCollector(self.kernel, moid, self._log, filter, session)
        self.kernel.add(collector)
        session.holdings[collector] = lambda: self.kernel.remove(collector)
        return collector.ref

    def LogUserEvent(self, entity: Reference, msg: str) -> None:
        """Write down what a client has to say of an entity."""
        found = self.kernel.registry.find(entity, ManagedEntity)
        event = vim.event.GeneralUserEvent(message=msg)
        self._log.post(event, found, f"User logged event: {msg}")

    def PostEvent(self, eventToPost: vim.event.Event, taskInfo: vim.TaskInfo | None = None) -> None:
        """Write down an event a client made."""
        del taskInfo
        if eventToPost is None:
            raise invalid_argument("eventToPost", "An event is needed.")
        self._log.post(eventToPost, None, eventToPost.fullFormattedMessage or "")


class EventHistoryCollector(ManagedObject):
    """Pages through the events of one filter."""

    wire_type = vim.event.EventHistoryCollector

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        log: EventLog,
        filter: vim.event.EventFilterSpec,  # noqa: A002 - the wire's name
        session: Session,
    ) -> None:
        super().__init__(kernel, moid)
        self.owner = session
        self._log = log
        self._filter = filter
        self._page = _PAGE
        self._after = 0
        self.properties.update(filter=filter, initialized=True)
        self.computed["latestPage"] = lambda: self._matching()[-self._page :][::-1]

    def ReadNextEvents(self, maxCount: int) -> list[vim.event.Event]:
        """Return the next events, oldest first; none at the end."""
        found = [event for event in self._matching() if event.key > self._after][: max(0, maxCount)]
        if found:
            self._after = found[-1].key
        return found

    def ReadPreviousEvents(self, maxCount: int) -> list[vim.event.Event]:
        """Return the events before those read last, latest first."""
        found = [event for event in self._matching() if event.key <= self._after][::-1]
        found = found[: max(0, maxCount)]
        if found:
            self._after = found[-1].key - 1
        return found

    def SetCollectorPageSize(self, maxCount: int) -> None:
        """Choose how many events ``latestPage`` shows, 1 to 1000."""
        if not 0 < maxCount <= 1000:
            raise invalid_argument("maxCount", "It is 1 to 1000.")
        self._page = maxCount

    def RewindCollector(self) -> None:
        """Begin at the oldest event again."""
        self._after = 0

    def ResetCollector(self) -> None:
        """Go to the end: only what comes is next."""
        events = self._log.events
        self._after = events[-1].key if events else 0

    def DestroyCollector(self) -> None:
        """Let go of the collector."""
        if self.owner is not None:
            self.owner.holdings.pop(self, None)
        self.kernel.remove(self)

    def _matching(self) -> list[vim.event.Event]:
        return matching(self.kernel, self._log, self._filter)


def matching(
    kernel: Kernel,
    log: EventLog,
    filter: vim.event.EventFilterSpec,  # noqa: A002 - as the wire says it
) -> list[vim.event.Event]:
    """See `EventManager.QueryEvents`."""
    if filter.alarm is not None or filter.scheduledTask is not None or filter.tag:
        raise vmodl.fault.NotSupported(msg="The lab has no alarms, scheduled tasks and tags.")
    events = [event for event in log.events if _fits(event, filter)]
    if filter.entity is not None:
        about = _below(kernel, filter.entity)
        events = [event for event in events if about & _subjects(event)]
    if filter.maxCount is not None and filter.maxCount > 0:
        events = events[-filter.maxCount :]
    return events


def _fits(event: vim.event.Event, filter: vim.event.EventFilterSpec) -> bool:  # noqa: A002
    time = filter.time
    if time is not None:
        if time.beginTime is not None and event.createdTime < time.beginTime:
            return False
        if time.endTime is not None and event.createdTime > time.endTime:
            return False
    if filter.eventChainId is not None and event.chainId != filter.eventChainId:
        return False
    if filter.userName is not None:
        users = filter.userName.userList or []
        if users and event.userName not in users:
            return False
    if filter.category and not set(filter.category) & {"info"}:
        return False
    kinds = [*(filter.type or ()), *(filter.eventTypeId or ())]
    return not kinds or any(_is_kind(event, kind) for kind in kinds)


def _is_kind(event: vim.event.Event, kind: type[Any]) -> bool:
    if isinstance(kind, type):
        return isinstance(event, kind)
    name = str(kind).rpartition(".")[2]
    return any(cls.__name__.rpartition(".")[2] == name for cls in type(event).__mro__)


def _subjects(event: vim.event.Event) -> set[str]:
    """Return the ids of all that an event is about."""
    named = [
        (event.vm, "vm"),
        (event.host, "host"),
        (event.computeResource, "computeResource"),
        (event.datacenter, "datacenter"),
        (event.ds, "datastore"),
    ]
    return {getattr(argument, field)._moId for argument, field in named if argument is not None}


def _below(kernel: Kernel, wanted: vim.event.EventFilterSpec.ByEntity) -> set[str]:
    """Return the ids of the entities a filter is about."""
    entity = kernel.registry.find(wanted.entity, ManagedEntity)
    recursion = str(wanted.recursion)
    if recursion == "self":
        return {entity.moid}
    children: set[str] = set()
    left = entity.children()
    while left:
        child = left.pop()
        children.add(child.moid)
        left += child.children()
    return children | {entity.moid} if recursion == "all" else children
