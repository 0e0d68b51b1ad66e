"""The update stream of one property collector: versions, waiting, replay."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection

from pyVmomi import vmodl

from vmops.lab.kernel.content import built
from vmops.lab.kernel.filters import PropertyFilter
from vmops.lab.kernel.kernel import ManagedObject

_PC = vmodl.query.PropertyCollector


class _Waiting:
    """A call that waits, also while it has been woken and has not looked yet."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self._change: asyncio.Future[None] | None = None

    async def change(self) -> None:
        self._change = asyncio.get_running_loop().create_future()
        await self._change

    def wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)


class UpdateStream:
    """Hands out what the filters found, one version after the other.

    The last update set is kept until the client asks with its version, which says that it
    arrived. A client that asks with the version before gets the same set again.
    """

    def __init__(self) -> None:
        self.filters: list[PropertyFilter] = []
        self._version = 0
        self._last: _PC.UpdateSet | None = None
        self._pending: deque[tuple[PropertyFilter, _PC.ObjectUpdate]] = deque()
        self._waiting: set[_Waiting] = set()
        self._ended: Exception | None = None

    def add(self, new: PropertyFilter) -> None:
        """Start to hear of what a filter finds."""
        self.filters.append(new)
        self._wake()

    def remove(self, old: PropertyFilter) -> None:
        """Stop telling changes of a filter, at once."""
        if old in self.filters:
            self.filters.remove(old)
            self._pending = deque(each for each in self._pending if each[0] is not old)

    def note(self, obj: ManagedObject, paths: Collection[str]) -> None:
        """Take note of a change in the inventory."""
        matters = False
        for each in self.filters:
            matters |= each.note(obj, paths)
        if matters:
            self._wake()

    def cancel(self, fault: Exception) -> None:
        """Make everybody who waits raise this, unless there is something to tell."""
        for each in self._waiting:
            each.fault = fault
            each.wake()

    def end(self, fault: Exception) -> None:
        """Make everybody who waits now or later raise this."""
        self._ended = fault
        self.cancel(fault)

    async def wait(
        self, version: str, max_objects: int | None, max_wait_s: float | None
    ) -> _PC.UpdateSet | None:
        """The next update set; None when nothing changed for so many seconds (None: no limit).

        An empty version starts again: everything enters.

        Raises:
            vmodl.query.InvalidCollectorVersion: neither the last version nor the one before.
            vmodl.fault.RequestCanceled: somebody called `cancel`.
            Exception: what `end` was called with.
        """
        if not version:
            self._restart()
            version = str(self._version)
        me = _Waiting()
        self._waiting.add(me)
        try:
            async with asyncio.timeout(max_wait_s or None):
                while (found := self._next(version, max_objects)) is None:
                    fault = me.fault or self._ended
                    if fault is not None:
                        raise fault
                    if max_wait_s == 0:
                        return None
                    await me.change()
                return found
        except TimeoutError:
            return None
        finally:
            self._waiting.discard(me)

    def _restart(self) -> None:
        self._pending.clear()
        self._last = None
        # A client that starts again must not have its old versions taken for new ones.
        self._version += 1
        for each in self.filters:
            each.restart()

    def _next(self, version: str, max_objects: int | None) -> _PC.UpdateSet | None:
        if version == str(self._version - 1) and self._last is not None:
            return self._last
        if version != str(self._version):
            raise vmodl.query.InvalidCollectorVersion()
        self._last = None
        for each in self.filters:
            self._pending.extend((each, update) for update in each.updates())
        if not self._pending:
            return None
        count = min(len(self._pending), max_objects or len(self._pending))
        taken = [self._pending.popleft() for _ in range(count)]
        self._version += 1
        self._last = self._update_set(taken)
        return self._last

    def _update_set(self, taken: list[tuple[PropertyFilter, _PC.ObjectUpdate]]) -> _PC.UpdateSet:
        by_filter: dict[PropertyFilter, list[_PC.ObjectUpdate]] = {}
        for each, update in taken:
            by_filter.setdefault(each, []).append(update)
        return built(
            _PC.UpdateSet,
            version=str(self._version),
            filterSet=[
                built(_PC.FilterUpdate, filter=each.ref, objectSet=updates)
                for each, updates in by_filter.items()
            ],
            truncated=bool(self._pending) or None,
        )

    def _wake(self) -> None:
        for each in self._waiting:
            each.wake()
