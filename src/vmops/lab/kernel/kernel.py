"""The one door through which a lab's managed objects appear, change and vanish."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pyVmomi.VmomiSupport import CheckField

from vmops.lab.kernel.managed_object import ManagedObject
from vmops.lab.kernel.property_path import replaced
from vmops.lab.kernel.registry import Registry
from vmops.lab.kernel.task import TaskRun, Tasks

if TYPE_CHECKING:
    from vmops.lab.hypervisor.port import Hypervisor
    from vmops.lab.settings import LabSettings

T = TypeVar("T")
ChangeListener = Callable[[ManagedObject, Collection[str]], None]


class Kernel:
    """What managed objects use to reach the lab and each other."""

    def __init__(self, settings: LabSettings, hypervisor: Hypervisor) -> None:
        self.settings = settings
        self.hypervisor = hypervisor
        self.registry = Registry()
        self.tasks = Tasks(self)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._services: dict[type, Any] = {}
        self._change_listeners: list[ChangeListener] = []
        self._watchers: list[ChangeListener] = []
        self._stop_hooks: list[Callable[[], Awaitable[None]]] = []

    def provide(self, service: object) -> None:
        """Make a lab-wide object, such as the disk store, known by its class."""
        self._services[type(service)] = service

    def service(self, cls: type[T]) -> T:
        """The lab-wide object of this class.

        Raises:
            KeyError: nobody provided one.
        """
        return cast("T", self._services[cls])

    def new_moid(self, prefix: str) -> str:
        """An id that no object has: ``vm-12``."""
        while True:
            self._numbers[prefix] += 1
            moid = f"{prefix}-{self._numbers[prefix]}"
            if moid not in self.registry:
                return moid

    def add(self, obj: ManagedObject) -> None:
        """Make an object exist. Listeners are told of all its properties."""
        self.registry._add(obj)
        self._changed(obj, tuple({**obj.properties, **obj.computed}))

    def remove(self, obj: ManagedObject) -> None:
        """Make an object vanish; nothing happens if it has. Listeners are told of no property."""
        if self.registry._remove(obj):
            self._changed(obj, ())

    def update(self, obj: ManagedObject, changes: Mapping[str, Any]) -> None:
        """Change properties: dotted paths to new values, None unsets.

        Data objects on the way are copied, not changed: references to the old ones stay as they
        were. Everybody who waits for updates is woken.

        Raises:
            TypeError: a value has not the property's type.
            AttributeError: there is no such property.
        """
        for path, value in changes.items():
            first, *rest = path.split(".")
            new = replaced(obj.properties.get(first), rest, value) if rest else value
            if new is not None:
                CheckField(obj.wire_type._GetPropertyInfo(first), new)  # type: ignore[attr-defined]
            obj.properties[first] = new
        if obj.moid in self.registry:
            self._changed(obj, tuple(changes))

    def touch(self, obj: ManagedObject, *properties: str) -> None:
        """Say that computed properties have new values, to those who wait for updates."""
        for watcher in self._watchers:
            watcher(obj, properties)

    def on_change(self, listener: ChangeListener) -> None:
        """Be told of every change, right after it happened.

        An added object comes with the names of all its properties, an updated one with the
        changed paths, a removed one with none, and it is not in the registry any more.
        """
        self._change_listeners.append(listener)

    def watch(self, watcher: ChangeListener) -> None:
        """Like `on_change`, and be told of touched computed properties too."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: ChangeListener) -> None:
        """Undo `watch`."""
        self._watchers.remove(watcher)

    def start_task(
        self,
        entity: ManagedObject,
        description_id: str,
        run: Callable[[TaskRun], Awaitable[Any]],
        *,
        cancelable: bool = True,
    ) -> Any:
        """Run something in the background and return its Task's reference at once.

        `description_id` is the wire type and method, "VirtualMachine.powerOn". What `run` returns
        (None, a reference or a data object) is the result; a fault it raises is the task's error,
        and any other exception becomes vmodl.fault.SystemError.
        """
        return self.tasks.start(entity, description_id, run, cancelable=cancelable)

    def on_stop(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Call this when the lab stops in order: no request and no task runs any more."""
        self._stop_hooks.append(hook)

    async def stop(self) -> None:
        """End all tasks and call the stop hooks, the last one first."""
        await self.tasks.stop()
        for hook in reversed(self._stop_hooks):
            await hook()

    async def blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Run a blocking function on a thread; the current session is known there too."""
        return await asyncio.to_thread(function, *args)

    def _changed(self, obj: ManagedObject, paths: Collection[str]) -> None:
        for listener in (*self._watchers, *self._change_listeners):
            listener(obj, paths)
