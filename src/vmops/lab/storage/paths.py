"""Datastore paths, ``[datastore] folder/file.vmdk``: parsed once, safe ever after.

A `DatastorePath` that exists cannot leave its datastore: no ``..``, nothing absolute, no control
characters. What symbolic links could still do is `Volumes.resolve`'s business.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from vmops.lab.storage.errors import InvalidDatastorePath

_FORM = re.compile(r"\[([^\[\]]*)\] ?(.*)", re.DOTALL)
_VMFS_PREFIX = "/vmfs/volumes/"
_LONGEST_SEGMENT_BYTES = 255  # what Linux file systems take
_LONGEST_PATH_BYTES = 2048
# They make a name look like another one when it is shown (CVE-2021-42574 is the known abuse).
_BIDI_CONTROLS = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_UNWANTED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _reason_against(text: str) -> str | None:
    for character in text:
        if unicodedata.category(character) in _UNWANTED_CATEGORIES:
            return "it holds a control character"
        if character in _BIDI_CONTROLS:
            return "it holds a character that changes the direction of writing"
    return None


def _reason_against_segment(segment: str) -> str | None:
    if segment in {"", ".", ".."}:
        return f"a name in it is {segment!r}"
    if len(segment.encode()) > _LONGEST_SEGMENT_BYTES:
        return f"a name in it is longer than {_LONGEST_SEGMENT_BYTES} bytes"
    return None


@dataclass(frozen=True, slots=True, order=True)
class DatastorePath:
    """A file or folder on a datastore; ``path`` is relative, "" for the datastore itself.

    Both parts are kept in Unicode's composed form (NFC).

    Raises:
        InvalidDatastorePath: a part is malformed (see the module's text).
    """

    datastore: str
    path: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "datastore", unicodedata.normalize("NFC", self.datastore))
        object.__setattr__(self, "path", unicodedata.normalize("NFC", self.path))
        reason = _reason_against(self.datastore) or _reason_against(self.path)
        if reason is None and (not self.datastore.strip() or set(self.datastore) & set("[]/")):
            reason = "the datastore's name is empty or holds one of [ ] /"
        if reason is None and self.path.startswith("/"):
            reason = "it is absolute"
        if reason is None and len(self.path.encode()) > _LONGEST_PATH_BYTES:
            reason = f"it is longer than {_LONGEST_PATH_BYTES} bytes"
        for segment in self.segments if reason is None else ():
            reason = reason or _reason_against_segment(segment)
        if reason is not None:
            raise InvalidDatastorePath(str(self), reason)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``[datastore] folder/file``; doubled, trailing and ``./`` parts are dropped.

        Raises:
            InvalidDatastorePath: the text has another form, or leaves the datastore.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidDatastorePath(text, "the form is [datastore] folder/file")
        datastore, path = match.groups()
        if path.startswith("/"):
            raise InvalidDatastorePath(text, "it is absolute")
        return cls(datastore, "/".join(part for part in path.split("/") if part not in {"", "."}))

    @classmethod
    def parse_vmfs(cls, text: str) -> Self:
        """Read ``/vmfs/volumes/datastore/folder/file``, the form inside VMDK descriptors.

        Raises:
            InvalidDatastorePath: the text has another form, or leaves the datastore.
        """
        if not text.startswith(_VMFS_PREFIX):
            raise InvalidDatastorePath(text, f"it is not below {_VMFS_PREFIX}")
        datastore, _, path = text.removeprefix(_VMFS_PREFIX).partition("/")
        return cls(datastore, path)

    @property
    def segments(self) -> tuple[str, ...]:
        """The names from the datastore's root down; () for the root itself."""
        return tuple(self.path.split("/")) if self.path else ()

    @property
    def name(self) -> str:
        """The last part; "" for the datastore's root."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The folder this is in; the root is its own parent."""
        return type(self)(self.datastore, self.path.rpartition("/")[0])

    def joined(self, name: str) -> Self:
        """The file ``name`` (or ``folder/name``) below this folder.

        Raises:
            InvalidDatastorePath: ``name`` is empty, absolute, or leads elsewhere.
        """
        if not name or name.startswith("/"):
            raise InvalidDatastorePath(name, "it is not a name below a folder")
        return type(self)(self.datastore, f"{self.path}/{name}" if self.path else name)

    def sibling(self, name: str) -> Self:
        """The file ``name`` in the same folder.

        Raises:
            InvalidDatastorePath: ``name`` is not a plain name.
        """
        if "/" in name:
            raise InvalidDatastorePath(name, "it is not a plain name")
        return self.parent.joined(name)

    @property
    def vmfs_form(self) -> str:
        """As a host mounts it: ``/vmfs/volumes/datastore/folder/file``."""
        return f"{_VMFS_PREFIX}{self.datastore}" + (f"/{self.path}" if self.path else "")

    def __str__(self) -> str:
        return f"[{self.datastore}] {self.path}"
