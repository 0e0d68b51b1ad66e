"""Where a file is on a datastore: "[datastore1] web1/web1.vmdk"."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from vmops.errors import InvalidName

_FORM = re.compile(r"^\[(?P<datastore>[^\[\]]+)\] ?(?P<path>.*)$", re.DOTALL)


def _refuse(text: str, why: str) -> InvalidName:
    return InvalidName(f"{text!r} is not a datastore path: {why}.")


def check_file_name(name: str) -> str:
    """A single name that is safe as one part of a datastore path, unchanged.

    Raises:
        InvalidName: it is empty, "." or "..", longer than 200 bytes, or has a slash, a
            backslash, a bracket or a control character.
    """
    bad = (
        not name
        or name in {".", ".."}
        or len(name.encode("utf-8", "surrogatepass")) > 200
        or any(
            c in "/\\[]" or unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in name
        )
    )
    if bad:
        raise InvalidName(
            f"{name!r} cannot be used as a name: names have 1 to 200 bytes, no slash,"
            " backslash, bracket or control character, and are not '.' or '..'."
        )
    return name


@dataclass(frozen=True, slots=True)
class DatastorePath:
    """A file or folder on a datastore. ``path`` is relative to its root, "" for the root itself.

    The path never leaves the datastore: building one with "..", a leading slash or a control
    character raises InvalidName.
    """

    datastore: str
    path: str = ""

    def __post_init__(self) -> None:
        text = f"[{self.datastore}] {self.path}"
        if not self.datastore or any(c in "[]/\\" for c in self.datastore):
            raise _refuse(text, "the datastore's name is malformed")
        if self.path.startswith("/"):
            raise _refuse(text, "it is absolute")
        if self.path and self.path != str(PurePosixPath(self.path)):
            object.__setattr__(self, "path", str(PurePosixPath(self.path)))
        parts = self.path.split("/")
        if ".." in parts:
            raise _refuse(text, "it leaves its folder")
        if any(unicodedata.category(c) in {"Cc", "Cs"} for c in text):
            raise _refuse(text, "it has control characters")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The path that ``text`` names, in vSphere's form.

        Raises:
            InvalidName: the text has not that form, or leaves the datastore.
        """
        found = _FORM.match(text)
        if found is None:
            raise _refuse(text, "it has not the form '[datastore] folder/file'")
        return cls(found["datastore"], found["path"].rstrip("/"))

    def __str__(self) -> str:
        return f"[{self.datastore}] {self.path}" if self.path else f"[{self.datastore}]"

    @property
    def name(self) -> str:
        """The file's or folder's own name: what follows the last slash."""
        return PurePosixPath(self.path).name

    @property
    def parent(self) -> DatastorePath:
        """The folder it is in; the root's parent is the root."""
        up = str(PurePosixPath(self.path).parent) if self.path else ""
        return DatastorePath(self.datastore, "" if up == "." else up)

    def joined(self, *names: str) -> DatastorePath:
        """A path below this one; each of ``names`` is one safe part."""
        parts = [check_file_name(name) for name in names]
        return DatastorePath(
            self.datastore, "/".join([*([self.path] if self.path else []), *parts])
        )

    def is_below(self, folder: DatastorePath) -> bool:
        """Whether it lies in ``folder``, at any depth."""
        if self.datastore != folder.datastore:
            return False
        return not folder.path or self.path.startswith(folder.path + "/")

    @property
    def flat(self) -> DatastorePath:
        """The data file that goes with this VMDK descriptor: "x.vmdk" gives "x-flat.vmdk"."""
        return self._with_suffix("-flat")

    @property
    def sparse(self) -> DatastorePath:
        """Where a sparse image is put before it is converted: "x-sparse.vmdk"."""
        return self._with_suffix("-sparse")

    def _with_suffix(self, suffix: str) -> DatastorePath:
        stem, dot, extension = self.path.rpartition(".")
        return DatastorePath(self.datastore, f"{stem}{suffix}{dot}{extension}")
