r"""Names of managed entities, as people give them and as vSphere keeps them.

vSphere keeps ``%``, ``/`` and ``\`` in the name of an entity as ``%25``, ``%2f`` and ``%5c``, shows
them so, and wants them so (vSphere Web Services API, ManagedEntity.name). They are unescaped where
properties are read and escaped where names are sent, so that all else has the name that was given.

A datastore's name is left as it is: it stands so in the paths of its files.
"""

from __future__ import annotations

import re

_ESCAPED = {"%": "%25", "/": "%2f", "\\": "%5c"}
_PLAIN = {kept: given for given, kept in _ESCAPED.items()}


def escaped(name: str) -> str:
    """The name of an entity as vSphere wants it."""
    return re.sub(r"[%/\\]", lambda found: _ESCAPED[found[0]], name)


def plain(name: str) -> str:
    """The name of an entity as it was given."""
    return re.sub(r"%(?:25|2[fF]|5[cC])", lambda found: _PLAIN[found[0].lower()], name)
