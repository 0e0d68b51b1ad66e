"""The one door through which a lab's managed objects appear, change, are found and vanish.

A managed object's SOAP methods are plain methods named exactly as on the wire, taking the wire's
parameter names; those that the client left out are None. Faults are raised as pyVmomi faults.
All of it happens on the lab's event loop.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar, cast

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import CheckField
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.hypervisor.port import Hypervisor
from vmops.lab.kernel.property_path import replaced
from vmops.lab.kernel.sessions import Session
from vmops.lab.settings import LabSettings

T = TypeVar("T")
Obj = TypeVar("Obj", bound="ManagedObject")
ChangeListener = Callable[["ManagedObject", Collection[str]], None]


class ManagedObject:
    """One object of the inventory, or one of the service's managers."""

    wire_type: ClassVar[type[Reference]]
    """The pyVmomi class it is on the wire, such as ``vim.VirtualMachine``."""

    def __init__(self, kernel: Kernel, moid: str) -> None:
        self.kernel = kernel
        self.moid = moid
        self.owner: Session | None = None
        """The session it belongs to and dies with; None: everybody's."""
        self.properties: dict[str, Any] = {}
        """Top-level property to pyVmomi value. Read freely; after `Kernel.add` change it only
        through `Kernel.update`, never in place."""
        self.computed: dict[str, Callable[[], object]] = {}
        """Top-level properties worked out whenever they are read."""
        self.ref: Reference = self.wire_type(moid)
        """The reference the wire carries; equal to any other with its type and id."""

    def read(self, name: str) -> Any:
        """The value of a top-level property now; None when it is unset."""
        compute = self.computed.get(name)
        return self.properties.get(name) if compute is None else compute()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.moid}>"


def not_found(ref: Reference | None) -> vmodl.MethodFault:
    """The fault for a reference to nothing."""
    return vmodl.fault.ManagedObjectNotFound(
        obj=ref, msg="The object has already been deleted or has not been completely created"
    )


class Registry:
    """Finds managed objects. Ids are unique over all types."""

    def __init__(self) -> None:
        self._objects: dict[str, ManagedObject] = {}
        self._by_class: defaultdict[type, dict[str, ManagedObject]] = defaultdict(dict)
        self._by_wire_type: defaultdict[type, dict[str, ManagedObject]] = defaultdict(dict)

    def get(self, ref_or_moid: Reference | str | None) -> ManagedObject:
        """The object with this id; a reference must also name its type or one above it.

        Raises:
            vmodl.fault.ManagedObjectNotFound: there is none.
        """
        if isinstance(ref_or_moid, str):
            found = self._objects.get(ref_or_moid)
            if found is None:
                raise not_found(vim.ManagedEntity(ref_or_moid))
            return found
        found = None if ref_or_moid is None else self._objects.get(ref_or_moid._moId)
        if found is None or not issubclass(found.wire_type, type(ref_or_moid)):
            raise not_found(ref_or_moid)
        return found

    def find(self, ref: Reference | str | None, cls: type[Obj]) -> Obj:
        """The object with this reference or id, which must be a `cls`.

        Raises:
            vmodl.fault.ManagedObjectNotFound: there is none, or it is something else.
        """
        found = self.get(ref)
        if not isinstance(found, cls):
            raise not_found(found.ref)
        return found

    def present(self, refs: Iterable[Reference], cls: type[Obj]) -> Iterator[Obj]:
        """Yield the objects of these references that are there when it is their turn.

        For loops that wait: what was in a list when they began may go meanwhile.
        """
        for ref in tuple(refs):
            found = self._objects.get(ref._moId)
            if isinstance(found, cls):
                yield found

    def all(self, cls: type[Obj]) -> list[Obj]:
        """Every object that is a `cls`, in the order they were added."""
        kinds = [each for each in self._by_class if issubclass(each, cls)]
        if len(kinds) == 1:
            return cast("list[Obj]", list(self._by_class[kinds[0]].values()))
        return [each for each in self._objects.values() if isinstance(each, cls)]

    def of_wire_type(self, wire_type: type) -> Iterator[ManagedObject]:
        """Every object that is exactly this on the wire, in the order they were added."""
        yield from self._by_wire_type[wire_type].values()

    def __contains__(self, moid: object) -> bool:
        return moid in self._objects

    def _add(self, obj: ManagedObject) -> None:
        if obj.moid in self._objects:
            raise ValueError(f"there is already an object {obj.moid}")
        self._objects[obj.moid] = obj
        self._by_class[type(obj)][obj.moid] = obj
        self._by_wire_type[obj.wire_type][obj.moid] = obj

    def _remove(self, obj: ManagedObject) -> bool:
        self._by_class[type(obj)].pop(obj.moid, None)
        self._by_wire_type[obj.wire_type].pop(obj.moid, None)
        return self._objects.pop(obj.moid, None) is not None


class Kernel:
    """What managed objects use to reach the lab and each other."""

    def __init__(self, settings: LabSettings, hypervisor: Hypervisor) -> None:
        self.settings = settings
        self.hypervisor = hypervisor
        self.registry = Registry()
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._services: dict[type, object] = {}
        self._change_listeners: list[ChangeListener] = []
        self._watchers: list[ChangeListener] = []
        self._background: set[asyncio.Task[None]] = set()
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

    def update(self, obj: ManagedObject, changes: Mapping[str, object]) -> None:
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
                CheckField(obj.wire_type._GetPropertyInfo(first), new)
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
        """Stop calling a listener that `watch` has added."""
        self._watchers.remove(watcher)

    def run_in_background(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run something until it ends or the lab stops."""
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def on_stop(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Call this when the lab stops in order: no request and no task runs any more."""
        self._stop_hooks.append(hook)

    async def stop(self) -> None:
        """End all that runs in the background, then call the stop hooks, the last one first."""
        running = list(self._background)
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for hook in reversed(self._stop_hooks):
            await hook()

    async def blocking(self, function: Callable[..., T], *args: object) -> T:
        """Run a blocking function on a thread; the current session is known there too."""
        return await asyncio.to_thread(function, *args)

    def _changed(self, obj: ManagedObject, paths: Collection[str]) -> None:
        for listener in (*self._watchers, *self._change_listeners):
            listener(obj, paths)
