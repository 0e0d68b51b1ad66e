"""Property paths: ``config.hardware.memoryMB``, ``config.extraConfig["key"].value``."""

from __future__ import annotations

from typing import Any

from pyVmomi.VmomiSupport import DataObject


def shallow_copy(value: Any) -> Any:
    """A data object with the same field values, sharing what they refer to."""
    copy = value.__class__.__new__(value.__class__)
    copy.__dict__.update(value.__dict__)
    return copy


def replaced(value: Any, path: list[str], new: Any) -> Any:
    """A copy of a data object in which the field at `path` is `new`.

    Only the objects on the way are copied; the original stays as it was, so answers and update
    sets that hold it do not change under their readers.

    Raises:
        TypeError: something on the way is unset or no data object, or `new` has the wrong type.
        AttributeError: there is no such field.
    """
    if not isinstance(value, DataObject):
        raise TypeError(f"no data object to set {'.'.join(path)} in, but {value!r}")
    copy = shallow_copy(value)
    inner = new if len(path) == 1 else replaced(getattr(value, path[0]), path[1:], new)
    setattr(copy, path[0], inner)
    return copy
