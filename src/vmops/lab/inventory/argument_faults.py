"""Faults for arguments that cannot be, and the checks of names that raise them."""

from __future__ import annotations

import re

from pyVmomi import vim, vmodl

_ESCAPED = {"%": "%25", "/": "%2f", "\\": "%5c"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME_LIMIT = 80


def invalid_argument(name: str, why: str) -> vmodl.fault.InvalidArgument:
    """Build the fault that names a parameter as not correct (``name`` as in the API)."""
    return vmodl.fault.InvalidArgument(
        invalidProperty=name, msg=f"A specified parameter was not correct: {name}. {why}"
    )


def invalid_state(why: str) -> vim.fault.InvalidState:
    """Build the fault for an operation that the object's present state does not allow."""
    return vim.fault.InvalidState(msg=why)


def entity_name(name: str | None) -> str:
    r"""Return a name as the inventory stores it, with ``/``, ``\\`` and ``%`` escaped.

    An already escaped sequence stays as it is, so that a name read from the inventory can be
    given back. Length is counted as given.

    Raises:
        vim.fault.InvalidName: empty, longer than 80 characters, or with control characters.
    """
    text = name or ""
    if not text.strip() or len(text) > _NAME_LIMIT or _CONTROL.search(text):
        raise vim.fault.InvalidName(
            name=_CONTROL.sub("?", text),
            msg=f"The name must have 1 to {_NAME_LIMIT} characters and no control characters.",
        )
    return re.sub(r"%(?!25|2f|2F|5c|5C)|/|\\", lambda match: _ESCAPED[match.group()], text)


def given_name(stored: str) -> str:
    """Return the name that `entity_name` stored so.

    >>> given_name(entity_name("a/b 50%"))
    'a/b 50%'
    """
    given = {value: key for key, value in _ESCAPED.items()}
    return re.sub(r"%(?:25|2[fF]|5[cC])", lambda match: given[match.group().lower()], stored)


def directory_name(name: str) -> str:
    """Turn an entity's name into one plain name of a directory.

    >>> directory_name("web %2f 1"), directory_name("..")
    ('web _ 1', '__')
    """
    text = re.sub(r"%(25|2[fF]|5[cC])", "_", name)
    text = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|\[\]]', "_", text).strip()
    text = re.sub(r"^\.+|\.+$", lambda match: "_" * len(match.group()), text)
    while len(text.encode()) > _NAME_LIMIT * 2:
        text = text[:-1]
    return text or "_"
