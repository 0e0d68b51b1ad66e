"""Property paths: ``config.hardware.memoryMB``, ``config.extraConfig["key"].value``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from pyVmomi import vmodl
from pyVmomi.VmomiSupport import Array, DataObject
from pyVmomi.VmomiSupport import ManagedObject as Reference

_STEP = re.compile(r'([A-Za-z_]\w*)(?:\[(?:"([^"]*)"|([^\]"]*))\])?(?:\.(?=.)|$)')

Step = tuple[str, str | None]
"""A field's name and, for one element of a list, that element's key."""


class Readable(Protocol):
    """What has top-level properties: a managed object."""

    def read(self, name: str) -> Any:
        """Return the value of one now; None when it is unset."""


@dataclass(frozen=True, slots=True)
class PropertyPath:
    """A path that makes sense on one type of object."""

    text: str
    first: str
    """The top-level property."""
    key: str | None
    """The key of the element asked for in the top-level property, if it is a list."""
    steps: tuple[Step, ...]
    """What follows the top-level property."""
    declared: type | None
    """The declared type of what it leads to; None where only the values on the way know it."""

    def overlaps(self, other: str) -> bool:
        """Whether a change at the dotted path `other` can change what this path leads to."""
        mine = self.text
        if len(mine) > len(other):
            return mine.startswith(other) and mine[len(other)] in ".["
        return other.startswith(mine) and (len(other) == len(mine) or other[len(mine)] == ".")


def invalid_property(name: str) -> Exception:
    """The fault for a path that leads nowhere."""
    fault: Exception = vmodl.query.InvalidProperty(name=name)
    return fault


@lru_cache(maxsize=4096)
def compile_path(wire_type: type[Reference], text: str) -> PropertyPath:
    """Read a path for objects of a wire type.

    Raises:
        vmodl.query.InvalidProperty: no object of the type can have it.
    """
    steps = _split(text)
    first, key = steps[0]
    declared = _declared(wire_type, first, key, text)
    if declared is None:
        raise invalid_property(text)
    following = tuple(steps[1:])
    for name, element in following:
        if not issubclass(declared, DataObject):
            raise invalid_property(text)
        declared = _declared(declared, name, element, text)
        if declared is None:
            # Perhaps a field of a derived type, such as a disk backing's file: the value decides.
            return PropertyPath(text, first, key, following, None)
    return PropertyPath(text, first, key, following, declared)


def evaluate(obj: Readable, path: PropertyPath) -> tuple[Any, type | None]:
    """What a path leads to and its declared type; (None, None) when it is unset.

    Raises:
        vmodl.query.InvalidProperty: a value on the way has no such field.
    """
    value = obj.read(path.first)
    if path.key is not None:
        value = _element(value, path.key, path)
    declared = path.declared
    for name, key in path.steps:
        if value is None:
            return None, None
        try:
            parent, value = value, value.__dict__[name]
        except (KeyError, AttributeError):
            raise invalid_property(path.text) from None
        if path.declared is None:
            declared = parent._GetPropertyInfo(name).type
        if key is not None:
            value = _element(value, key, path)
            declared = getattr(declared, "Item", declared)
    if value is None or (value.__class__ is not str and isinstance(value, list) and not value):
        return None, None
    return value, declared


def parent_of(path: PropertyPath) -> str | None:
    """The path without its last step; None for a top-level property."""
    if not path.steps:
        return None
    name, key = path.steps[-1]
    tail = f".{name}" if key is None else f'.{name}["{key}"]'
    if path.text.endswith(tail):
        return path.text[: -len(tail)]
    return path.text[: -len(f".{name}[{key}]")]


def replaced(value: object, path: list[str], new: object) -> DataObject:
    """A copy of a data object in which the field at `path` is `new`.

    Only the objects on the way are copied; the original stays as it was, so answers and update
    sets that hold it do not change under their readers.

    Raises:
        TypeError: something on the way is unset or no data object, or `new` has the wrong type.
        AttributeError: there is no such field.
    """
    if not isinstance(value, DataObject):
        raise TypeError(f"no data object to set {'.'.join(path)} in, but {value!r}")
    copy = value.__class__.__new__(value.__class__)
    copy.__dict__.update(value.__dict__)
    inner = new if len(path) == 1 else replaced(getattr(value, path[0]), path[1:], new)
    setattr(copy, path[0], inner)
    return copy


def _split(text: str) -> list[Step]:
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise invalid_property(text)
        quoted, bare = found.group(2), found.group(3)
        steps.append((found.group(1), quoted if quoted is not None else bare))
        at = found.end()
    if not steps:
        raise invalid_property(text)
    return steps


def _declared(
    owner: type[Reference] | type[DataObject], name: str, key: str | None, text: str
) -> type | None:
    """The type of a field, or of its elements if one is asked for; None if there is no field."""
    try:
        declared = owner._GetPropertyInfo(name).type
    except AttributeError:
        return None
    if key is None:
        return declared
    if not issubclass(declared, Array):
        raise invalid_property(text)
    return declared.Item


def _element(values: object, key: str, path: PropertyPath) -> DataObject | None:
    if values is None:
        return None
    if not isinstance(values, list):
        raise invalid_property(path.text)
    objects = (each for each in values if isinstance(each, DataObject))
    for each in objects:
        own = getattr(each, "key", None)
        if own is not None and str(own) == key:
            return each
    return None
