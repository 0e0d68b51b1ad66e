"""Which objects a PropertyFilterSpec selects, and which of their properties."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pyVmomi import vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.kernel import ManagedObject, Registry
from vmops.lab.kernel.property_path import PropertyPath, compile_path, evaluate

_PC = vmodl.query.PropertyCollector
TraversalSpec = _PC.TraversalSpec


class Selected:
    """What one run over the inventory found."""

    def __init__(self) -> None:
        self.objects: dict[str, ManagedObject] = {}
        """In the order they were reached."""
        self.reasons: dict[str, set[str]] = {}
        """Ids of the objects looked at on the way, with the properties that led on: a change of
        one of those can change the selection."""
        self.missing: list[Reference] = []
        """References to start from that lead to nothing."""


class Selection:
    """A PropertyFilterSpec made ready to run.

    Raises:
        vmodl.query.InvalidProperty: a type has not a property it is asked for.
        vmodl.fault.InvalidArgument: a type or object is missing, or a selection is named that
            there is not.
    """

    def __init__(self, spec: _PC.FilterSpec) -> None:
        for each in spec.objectSet:
            _must_have(each.obj, "objectSet.obj")
        for each in spec.propSet:
            _must_have(each.type, "propSet.type")
        self.spec = spec
        self._starts = [(each, _named_traversals(each)) for each in spec.objectSet]
        self._properties = [(each.type, _paths(each)) for each in spec.propSet]
        self._paths_of_type: dict[type, tuple[PropertyPath, ...]] = {}
        for start, named in self._starts:
            for traversal in _traversals(start.selectSet):
                if isinstance(traversal, TraversalSpec):
                    _must_have(traversal.type, "selectSet.type")
                    compile_path(traversal.type, traversal.path)
                elif traversal.name not in named:
                    raise vmodl.fault.InvalidArgument(invalidProperty="selectSet")

    def paths(self, obj: ManagedObject) -> tuple[PropertyPath, ...]:
        """The properties wanted of an object: those of every PropertySpec that fits its type."""
        known = self._paths_of_type.get(obj.wire_type)
        if known is None:
            texts: dict[str, None] = {}
            for wire_type, paths in self._properties:
                if issubclass(obj.wire_type, wire_type):
                    texts.update(dict.fromkeys(_all(obj.wire_type) if paths is None else paths))
            known = tuple(compile_path(obj.wire_type, text) for text in texts)
            self._paths_of_type[obj.wire_type] = known
        return known

    def wants(self, obj: ManagedObject) -> bool:
        """Whether any PropertySpec speaks of the object's type; others are only passed through."""
        return any(issubclass(obj.wire_type, wire_type) for wire_type, _ in self._properties)

    def run(self, registry: Registry) -> Selected:
        """Walk the inventory from every start."""
        selected = Selected()
        for start, named in self._starts:
            try:
                obj = registry.get(start.obj)
            except vmodl.fault.ManagedObjectNotFound:
                selected.missing.append(start.obj)
                selected.reasons.setdefault(start.obj._moId, set())
                continue
            selected.reasons.setdefault(obj.moid, set())
            self._walk(registry, obj, start, named, selected)
        return selected

    def _walk(
        self,
        registry: Registry,
        start: ManagedObject,
        spec: _PC.ObjectSpec,
        named: dict[str, _PC.TraversalSpec],
        selected: Selected,
    ) -> None:
        waiting: deque[tuple[ManagedObject, _PC.ObjectSpec | _PC.TraversalSpec]] = deque(
            [(start, spec)]
        )
        reached: set[tuple[str, int]] = {(start.moid, id(spec))}
        while waiting:
            obj, by = waiting.popleft()
            if not by.skip and self.wants(obj):
                selected.objects.setdefault(obj.moid, obj)
            for select in by.selectSet:
                onward = select if isinstance(select, TraversalSpec) else named[select.name]
                if not issubclass(obj.wire_type, onward.type):
                    continue
                path = compile_path(onward.type, onward.path)
                selected.reasons.setdefault(obj.moid, set()).add(path.first)
                value, _ = evaluate(obj, path)
                for ref in value if isinstance(value, list) else [value]:
                    if not isinstance(ref, Reference) or (ref._moId, id(onward)) in reached:
                        continue
                    reached.add((ref._moId, id(onward)))
                    if ref._moId in registry:
                        waiting.append((registry.get(ref._moId), onward))


def _must_have(value: object, name: str) -> None:
    if value is None:
        raise vmodl.fault.InvalidArgument(invalidProperty=name)


def _named_traversals(start: _PC.ObjectSpec) -> dict[str, _PC.TraversalSpec]:
    return {
        each.name: each
        for each in _traversals(start.selectSet)
        if isinstance(each, TraversalSpec) and each.name
    }


def _traversals(select_set: list[_PC.SelectionSpec]) -> Iterator[_PC.SelectionSpec]:
    waiting = deque(select_set)
    while waiting:
        each = waiting.popleft()
        yield each
        if isinstance(each, TraversalSpec):
            waiting.extend(each.selectSet)


def _paths(spec: _PC.PropertySpec) -> list[str] | None:
    """The paths of a PropertySpec; None for all of whatever type it meets."""
    if spec.all:
        return None
    for text in spec.pathSet:
        compile_path(spec.type, text)
    return list(spec.pathSet)


def _all(wire_type: type[Reference]) -> list[str]:
    return [info.name for info in wire_type._GetPropertyList()]
