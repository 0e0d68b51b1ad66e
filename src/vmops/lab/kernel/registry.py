"""All managed objects of a lab by their id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, TypeVar, cast

from pyVmomi import vim, vmodl

from vmops.lab.kernel.managed_object import ManagedObject

T = TypeVar("T", bound=ManagedObject)


def not_found(ref: Any) -> Exception:
    """The fault for a reference to nothing."""
    fault: Exception = vmodl.fault.ManagedObjectNotFound(
        obj=ref,
        msg="The object has already been deleted or has not been completely created",
    )
    return fault


class Registry:
    """Finds managed objects. Ids are unique over all types."""

    def __init__(self) -> None:
        self._objects: dict[str, ManagedObject] = {}
        self._by_class: defaultdict[type, dict[str, ManagedObject]] = defaultdict(dict)
        self._by_wire_type: defaultdict[type, dict[str, ManagedObject]] = defaultdict(dict)

    def get(self, ref_or_moid: Any) -> ManagedObject:
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

    def find(self, ref: Any, cls: type[T]) -> T:
        """The object with this reference or id, which must be a `cls`.

        Raises:
            vmodl.fault.ManagedObjectNotFound: there is none, or it is something else.
        """
        found = self.get(ref)
        if not isinstance(found, cls):
            raise not_found(found.ref)
        return found

    def all(self, cls: type[T]) -> list[T]:
        """Every object that is a `cls`, in the order they were added."""
        kinds = [each for each in self._by_class if issubclass(each, cls)]
        if len(kinds) == 1:
            return cast("list[T]", list(self._by_class[kinds[0]].values()))
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
