"""Property filters: what a client wants to hear of, and what has changed of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pyVmomi import vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.content import built, change, typed
from vmops.lab.kernel.kernel import Kernel, ManagedObject, not_found
from vmops.lab.kernel.property_path import PropertyPath, compile_path, evaluate, parent_of
from vmops.lab.kernel.selection import Selection

_PC = vmodl.query.PropertyCollector
_Kind = _PC.ObjectUpdate.Kind

Fingerprint = Callable[[object], object]
"""Makes of a value something that is equal for equal values and holds on to nothing."""


class PropertyFilter(ManagedObject):
    """One filter of a collector. Only what changed is looked at again."""

    wire_type = _PC.Filter

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        spec: _PC.FilterSpec,
        *,
        partial_updates: bool,
        fingerprint: Fingerprint,
        on_destroy: Callable[[PropertyFilter], None],
    ) -> None:
        """Raises InvalidProperty, InvalidArgument or ManagedObjectNotFound as `Selection` does."""
        super().__init__(kernel, moid)
        self.properties |= {"spec": spec, "partialUpdates": partial_updates}
        self._selection = Selection(spec)
        self._fingerprint = fingerprint
        self._on_destroy = on_destroy
        self._seen: dict[str, dict[str, object]] = {}
        """Object id to property path to the fingerprint of the value last reported."""
        self._objects: dict[str, ManagedObject] = {}
        self._reasons: dict[str, set[str]] = {}
        self._dirty: dict[str, set[str]] = {}
        self._moved = True
        missing = self._selection.run(kernel.registry).missing
        if missing and not spec.reportMissingObjectsInResults:
            raise not_found(missing[0])

    def DestroyPropertyFilter(self) -> None:
        """Tell no more changes of what it selects."""
        self._on_destroy(self)

    def restart(self) -> None:
        """Forget what was reported: everything enters again."""
        self._seen.clear()
        self._objects.clear()
        self._dirty.clear()
        self._moved = True

    def note(self, obj: ManagedObject, paths: Collection[str]) -> bool:
        """Take note of a change; whether it can matter here."""
        moid = obj.moid
        matters = False
        reasons = self._reasons.get(moid)
        if reasons is not None and (not paths or any(_top(path) in reasons for path in paths)):
            self._moved = matters = True
        if moid in self._seen:
            matters = True
            if paths:
                self._dirty.setdefault(moid, set()).update(paths)
            else:
                self._moved = True
        return matters

    def updates(self) -> list[_PC.ObjectUpdate]:
        """ObjectUpdates for all that changed since they were last asked for."""
        found: list[_PC.ObjectUpdate] = []
        if self._moved:
            found += self._move()
        dirty, self._dirty = self._dirty, {}
        for moid, paths in dirty.items():
            if moid in self._seen:
                found += self._modified(self._objects[moid], paths)
        return found

    def _move(self) -> list[_PC.ObjectUpdate]:
        """Run the selection again: who left, who came."""
        self._moved = False
        selected = self._selection.run(self.kernel.registry)
        self._reasons = selected.reasons
        found = []
        for moid in [each for each in self._seen if each not in selected.objects]:
            del self._seen[moid]
            self._dirty.pop(moid, None)
            gone = self._objects.pop(moid)
            found.append(built(_PC.ObjectUpdate, kind=_Kind.leave, obj=gone.ref))
        for moid, obj in selected.objects.items():
            if moid not in self._seen:
                self._objects[moid] = obj
                found.append(self._entered(obj))
        return found

    def _entered(self, obj: ManagedObject) -> _PC.ObjectUpdate:
        self._dirty.pop(obj.moid, None)
        seen = self._seen[obj.moid] = {}
        changes: list[_PC.Change] = []
        missing: list[_PC.MissingProperty] = []
        for path in self._selection.paths(obj):
            value, declared = _value(obj, path, missing)
            if value is not None:
                seen[path.text] = self._mark(value, declared)
                changes.append(change(path, value, declared))
        return built(
            _PC.ObjectUpdate, kind=_Kind.enter, obj=obj.ref, changeSet=changes, missingSet=missing
        )

    def _modified(self, obj: ManagedObject, changed: set[str]) -> list[_PC.ObjectUpdate]:
        seen = self._seen[obj.moid]
        changes: list[_PC.Change] = []
        for path in self._selection.paths(obj):
            if not any(path.overlaps(each) for each in changed):
                continue
            value, declared = _value(obj, path, [])
            mark = None if value is None else self._mark(value, declared)
            if mark == seen.get(path.text):
                continue
            if value is None:
                del seen[path.text]
                changes.append(change(path, None, None, parent_gone=_parent_gone(obj, path)))
            else:
                seen[path.text] = mark
                changes.append(change(path, value, declared))
        if not changes:
            return []
        return [built(_PC.ObjectUpdate, kind=_Kind.modify, obj=obj.ref, changeSet=changes)]

    def _mark(self, value: object, declared: type | None) -> object:
        if isinstance(value, str | int | float):
            return value
        if isinstance(value, Reference):
            return f"{value.__class__.__name__}:{value._moId}"
        return self._fingerprint(typed(value, declared))


def _value(
    obj: ManagedObject, path: PropertyPath, missing: list[_PC.MissingProperty]
) -> tuple[Any, type | None]:
    try:
        return evaluate(obj, path)
    except vmodl.MethodFault as fault:
        missing.append(built(_PC.MissingProperty, path=path.text, fault=fault))
        return None, None


def _parent_gone(obj: ManagedObject, path: PropertyPath) -> bool:
    parent = parent_of(path)
    return parent is not None and evaluate(obj, compile_path(obj.wire_type, parent))[0] is None


def _top(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]
