"""The descriptor within a VMDK, read strictly: one disk in one file, which names no other file.

Tools that open a VMDK follow what its descriptor says, so that everything in it which could lead to
another file is refused: a parent, a second extent, an extent with a path, a change tracking file,
and every key that is not known to be harmless. Texts may have any characters.

See: Virtual Disk Format 5.0 (VMware technical note), "The Descriptor File".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmops.model.image import AdapterType

NO_PARENT = "ffffffff"
_KINDS = {"streamoptimized": True, "monolithicsparse": False}
"""``createType`` of one file, and whether it is streamed."""
_SPLIT_KINDS = {
    "monolithicflat": "FLAT",
    "twogbmaxextentflat": "FLAT",
    "twogbmaxextentsparse": "SPARSE",
    "vmfs": "VMFS",
}
_MAX_PARTS = 1024
_KEYS = {"version", "encoding", "cid", "parentcid", "isnativesnapshot", "createtype"}
_LINE = re.compile(r"([A-Za-z][A-Za-z0-9_.]{0,99})[ \t]*=[ \t]*(.*)", re.DOTALL)
_EXTENT = re.compile(
    r"([A-Za-z]+)[ \t]+([0-9]{1,19})[ \t]+([A-Za-z0-9]+)(?:[ \t]+\"([^\"]*)\")?(.*)"
)
_ACCESS = {"rw", "rdonly"}
_NO_PATH = re.compile(r"[/\\\0]")
_NIL_UUID = re.compile(r"[0{}-]*")
_ADAPTERS = {
    "ide": AdapterType.IDE,
    "buslogic": AdapterType.BUS_LOGIC,
    "lsilogic": AdapterType.LSI_LOGIC,
    "lsisas1068": AdapterType.LSI_LOGIC_SAS,
    "pvscsi": AdapterType.PARA_VIRTUAL,
}
ADAPTER_KEY = "ddb.adaptertype"


class BadDescriptor(Exception):
    """What is wrong with it, without the file's name."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What it says of the disk. ``adapter_word`` is as it stands there, "" if it does not."""

    is_streamed: bool
    capacity: int
    adapter_word: str

    @property
    def adapter(self) -> AdapterType | None:
        """The adapter that it names; None: none, or one that no machine here has."""
        return _ADAPTERS.get(self.adapter_word.lower())


def read_descriptor(content: bytes) -> Descriptor:
    """The descriptor in these sectors, which are filled up with zeros.

    Raises:
        BadDescriptor: it is none, says something twice, or what cannot be allowed.
    """
    return _checked(*_said(content))


@dataclass(frozen=True, slots=True)
class Part:
    """An extent of a disk in several files: FLAT or SPARSE, and so many sectors."""

    kind: str
    sectors: int
    name: str


def read_parts(content: bytes) -> tuple[Part, ...] | None:
    """The extents that a descriptor names which stands alone; None: it is of a disk in one file.

    Raises:
        BadDescriptor: as `read_descriptor`; or a name is not one of a file beside it.
    """
    values, extents = _said(content)
    wanted = _SPLIT_KINDS.get(values.get("createtype", "").lower())
    if wanted is None:
        return None
    _refuse_parent(values)
    if not 0 < len(extents) <= _MAX_PARTS:
        raise BadDescriptor(f"its descriptor names {len(extents)} extents")
    for access, sectors, kind, name in extents:
        if access not in _ACCESS or kind != wanted or not sectors:
            raise BadDescriptor(f"its extent is {access.upper()[:20]} {kind[:20]}, not RW {wanted}")
        if _NO_PATH.search(name) or name in {"", ".", ".."}:
            raise BadDescriptor(f"its descriptor names a file elsewhere: {name[:80]!r}")
    if len({name for *_, name in extents}) != len(extents):
        raise BadDescriptor("its descriptor names one file twice")
    return tuple(Part(kind, sectors, name) for _, sectors, kind, name in extents)


def _said(content: bytes) -> tuple[dict[str, str], list[tuple[str, int, str, str]]]:
    values: dict[str, str] = {}
    extents: list[tuple[str, int, str, str]] = []
    for line in _lines(content):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if match := _LINE.fullmatch(text):
            key, value = match[1].lower(), match[2].strip()
            if key in values:
                raise BadDescriptor(f"its descriptor says {match[1][:40]!r} twice")
            if key not in _KEYS and not key.startswith("ddb."):
                raise BadDescriptor(_why_not(match[1]))
            values[key] = value.strip('"')
        elif match := _EXTENT.fullmatch(text):
            extents.append((match[1].lower(), int(match[2]), match[3].upper(), match[4] or ""))
            if match[5].strip(" \t0"):
                raise BadDescriptor(
                    f"its descriptor has a line that is not understood: {text[:80]!r}"
                )
        else:
            raise BadDescriptor(f"its descriptor has a line that is not understood: {text[:80]!r}")
    return values, extents


def _lines(content: bytes) -> list[str]:
    text, _, rest = content.partition(b"\0")
    if rest.strip(b"\0"):
        raise BadDescriptor("its descriptor goes on behind its end")
    try:
        return text.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return text.decode("latin-1").split("\n")


def _why_not(key: str) -> str:
    if key.lower() in {"parentfilenamehint", "changetrackpath"}:
        return f"its descriptor names another file ({key}); give a disk that stands alone"
    return f"its descriptor has {key[:40]!r}, which is not known"


def _refuse_parent(values: dict[str, str]) -> None:
    if values.get("parentcid", NO_PARENT).lower() != NO_PARENT:
        raise BadDescriptor("it is only what differs from a parent; give a disk that stands alone")
    if not _NIL_UUID.fullmatch(values.get("ddb.uuid.parent", "")):
        raise BadDescriptor("it is only what differs from a parent; give a disk that stands alone")


def _checked(values: dict[str, str], extents: list[tuple[str, int, str, str]]) -> Descriptor:
    kind = values.get("createtype", "").lower()
    if kind not in _KINDS:
        raise BadDescriptor(
            f"its descriptor says it is {values.get('createtype', '')[:40]!r}, not one file that"
            " holds all its data"
        )
    _refuse_parent(values)
    if len(extents) != 1:
        raise BadDescriptor(f"its descriptor names {len(extents)} extents; it must be one")
    access, capacity, extent_kind, name = extents[0]
    if access not in _ACCESS or extent_kind != "SPARSE":
        raise BadDescriptor(
            f"its extent is {access.upper()[:20]} {extent_kind[:20]}, not RW SPARSE"
        )
    if _NO_PATH.search(name) or name in {".", ".."}:
        raise BadDescriptor(f"its descriptor names a file elsewhere: {name[:80]!r}")
    return Descriptor(_KINDS[kind], capacity, values.get(ADAPTER_KEY, ""))
