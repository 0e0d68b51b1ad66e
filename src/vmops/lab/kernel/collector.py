"""The property collector: how clients read everything, once or continuously."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from weakref import WeakKeyDictionary

from pyVmomi import vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.content import built, object_content
from vmops.lab.kernel.filters import Fingerprint, PropertyFilter
from vmops.lab.kernel.kernel import Kernel, ManagedObject, not_found
from vmops.lab.kernel.property_path import PropertyPath
from vmops.lab.kernel.selection import Selection
from vmops.lab.kernel.sessions import Session, current_session, not_authenticated
from vmops.lab.kernel.updates import UpdateStream

_PC = vmodl.query.PropertyCollector

OPEN_RETRIEVALS = 100
"""Unfinished paged reads kept for a collector; the oldest is given up for one more."""

Wanted = list[tuple[ManagedObject, tuple[PropertyPath, ...]]]


class _State:
    """What belongs to one collector of one session."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.stream = UpdateStream()
        self.unread: OrderedDict[str, tuple[Wanted, int]] = OrderedDict()
        kernel.watch(self.stream.note)

    def drop(self, dropped: PropertyFilter) -> None:
        self.stream.remove(dropped)
        self.kernel.remove(dropped)

    def close(self, fault: Exception) -> None:
        self.kernel.unwatch(self.stream.note)
        for each in list(self.stream.filters):
            self.drop(each)
        self.stream.end(fault)


class PropertyCollector(ManagedObject):
    """The collector every session has; each session sees its own filters in it."""

    wire_type = _PC

    def __init__(self, kernel: Kernel, moid: str, fingerprint: Fingerprint) -> None:
        super().__init__(kernel, moid)
        self.computed["filter"] = self._filters
        self._fingerprint = fingerprint
        self._states: WeakKeyDictionary[Session, _State] = WeakKeyDictionary()

    def RetrieveProperties(self, specSet: list[_PC.FilterSpec] | None) -> list[_PC.ObjectContent]:
        """Read properties in one go."""
        return [object_content(obj, paths) for obj, paths in self._wanted(specSet)]

    def RetrievePropertiesEx(
        self, specSet: list[_PC.FilterSpec] | None, options: _PC.RetrieveOptions
    ) -> _PC.RetrieveResult | None:
        """Read properties, a page at a time if the client says so; None if nothing is there."""
        page_size = options.maxObjects
        if page_size is not None and page_size <= 0:
            raise vmodl.fault.InvalidArgument(invalidProperty="options.maxObjects")
        return self._page(self._wanted(specSet), page_size)

    def ContinueRetrievePropertiesEx(self, token: str) -> _PC.RetrieveResult | None:
        """The next page, as things are now; objects that have vanished are left out."""
        wanted, page_size = self._unread(token)
        return self._page(
            [each for each in wanted if each[0].moid in self.kernel.registry], page_size
        )

    def CancelRetrievePropertiesEx(self, token: str) -> None:
        """Give up a paged read."""
        self._unread(token)

    def CreateFilter(self, spec: _PC.FilterSpec, partialUpdates: bool) -> Reference:
        """Start to watch. Changes are always reported as the whole property asked for."""
        session, state = current_session.get(), self._state()
        created = PropertyFilter(
            self.kernel,
            _moid(session),
            spec,
            partial_updates=partialUpdates,
            fingerprint=self._fingerprint,
            on_destroy=state.drop,
        )
        created.owner = session
        self.kernel.add(created)
        state.stream.add(created)
        return created.ref

    async def WaitForUpdatesEx(
        self, version: str | None = None, options: _PC.WaitOptions | None = None
    ) -> _PC.UpdateSet | None:
        """The next update set after a version; see `UpdateStream.wait`."""
        max_wait = None if options is None else options.maxWaitSeconds
        max_objects = None if options is None else options.maxObjectUpdates
        if max_wait is not None and max_wait < 0:
            raise vmodl.fault.InvalidArgument(invalidProperty="options.maxWaitSeconds")
        if max_objects is not None and max_objects <= 0:
            raise vmodl.fault.InvalidArgument(invalidProperty="options.maxObjectUpdates")
        return await self._state().stream.wait(version or "", max_objects, max_wait)

    async def WaitForUpdates(self, version: str | None = None) -> _PC.UpdateSet | None:
        """The older form, without options."""
        return await self._state().stream.wait(version or "", None, None)

    async def CheckForUpdates(self, version: str | None = None) -> _PC.UpdateSet | None:
        """The older form that does not wait."""
        return await self._state().stream.wait(version or "", None, 0)

    def CancelWaitForUpdates(self) -> None:
        """Make the session's waiting call on this collector end with RequestCanceled."""
        self._state().stream.cancel(vmodl.fault.RequestCanceled())

    def CreatePropertyCollector(self) -> Reference:
        """A collector of the session's own, with filters and versions apart from this one's."""
        session = current_session.get()
        created = OwnPropertyCollector(self.kernel, _moid(session), self._fingerprint, session)
        self.kernel.add(created)
        return created.ref

    def _state(self) -> _State:
        session = current_session.get()
        state = self._states.get(session)
        if state is None:
            state = self._states[session] = _State(self.kernel)
            session.holdings[state] = lambda: state.close(not_authenticated(self.ref))
        return state

    def _filters(self) -> list[Reference]:
        if current_session.get(None) is None:
            return []
        return [each.ref for each in self._state().stream.filters]

    def _wanted(self, specs: list[_PC.FilterSpec] | None) -> Wanted:
        wanted: Wanted = []
        for spec in specs or []:
            selection = Selection(spec)
            selected = selection.run(self.kernel.registry)
            if selected.missing and not spec.reportMissingObjectsInResults:
                raise not_found(selected.missing[0])
            wanted += [(obj, selection.paths(obj)) for obj in selected.objects.values()]
        return wanted

    def _page(self, wanted: Wanted, size: int | None) -> _PC.RetrieveResult | None:
        page = wanted[:size]
        if not page:
            return None
        contents = [object_content(obj, paths) for obj, paths in page]
        token = None
        if size is not None and len(wanted) > size:
            token = str(uuid.uuid4())
            unread = self._state().unread
            unread[token] = (wanted[size:], size)
            if len(unread) > OPEN_RETRIEVALS:
                unread.popitem(last=False)
        return built(_PC.RetrieveResult, token=token, objects=contents)

    def _unread(self, token: str) -> tuple[Wanted, int]:
        unread = self._state().unread.pop(token, None)
        if unread is None:
            raise vmodl.fault.InvalidArgument(invalidProperty="token")
        return unread


class OwnPropertyCollector(PropertyCollector):
    """A collector that one session made for itself."""

    def __init__(
        self, kernel: Kernel, moid: str, fingerprint: Fingerprint, session: Session
    ) -> None:
        super().__init__(kernel, moid, fingerprint)
        self.owner = session
        self._own = _State(kernel)
        session.holdings[self] = lambda: self._close(not_authenticated(self.ref))

    def DestroyPropertyCollector(self) -> None:
        """Destroy the collector and its filters; a call that waits on it ends."""
        self._close(vmodl.fault.RequestCanceled())

    def _close(self, fault: Exception) -> None:
        if self.owner is not None:
            self.owner.holdings.pop(self, None)
        self._own.close(fault)
        self.kernel.remove(self)

    def _state(self) -> _State:
        return self._own


def _moid(session: Session) -> str:
    return f"session[{session.key}]{uuid.uuid4()}"
