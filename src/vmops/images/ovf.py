"""Reads an OVF descriptor: what it says, before anybody asks what that means.

Only what is asked for later is kept, so that a descriptor costs little more than its own size. A
document type is refused by the parser's own handler, in whatever encoding it stands: entities are
defined nowhere else, and no descriptor needs any.

See: DMTF DSP0243, Open Virtualization Format Specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from vmops.errors import ImageNotAcceptable

MAX_BYTES = 2 * 1024 * 1024
"""Real ones have tens of KiB."""
_MAX_DEPTH = 64
_MAX_ELEMENTS = 200_000
_MAX_KEPT = 20_000
_MAX_TEXT = 4096
_BLOCK = 64 * 1024
UNKNOWN = "a section that is not known"
"""The name under which sections are given that no specification here has; ``name`` is theirs."""
_SECTIONS = {
    "AnnotationSection", "DeploymentOptionSection", "DiskSection", "EnvironmentFilesSection",
    "EulaSection", "InstallSection", "NetworkSection", "OperatingSystemSection", "ProductSection",
    "ResourceAllocationSection", "StartupSection", "VirtualHardwareSection", "BootDeviceSection",
    "BootOrderSection",
}  # fmt: skip
_ITEMS = {"Item", "StorageItem", "EthernetPortItem"}
# Sections and elements that are read, by their parents' names. Those that are told to people only
# need no reading: their names, texts and licences do nothing to a machine.
_READ = {
    "File": "References",
    "Disk": "DiskSection",
    "Configuration": "DeploymentOptionSection",
    "OperatingSystemSection": "VirtualSystem",
    "Config": "VirtualHardwareSection",
    "ExtraConfig": "VirtualHardwareSection",
    "System": "VirtualHardwareSection",
    "VirtualSystem": "",
    "ProductSection": "",
    "BootDeviceSection": "",
    "BootOrderSection": "",
    "Property": "ProductSection",
    **dict.fromkeys(_ITEMS, "VirtualHardwareSection"),
}


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its attributes and its children's texts, both by plain name."""

    name: str
    attributes: Mapping[str, str]
    texts: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """An attribute, "" if there is none; in whatever namespace, as OVF's version is in that."""
        return self.attributes.get(name, "").strip()

    def text(self, name: str) -> str:
        """A child's text, "" if there is none."""
        return self.texts.get(name, "").strip()


def read(content: bytes) -> list[Element]:
    """The elements that matter, in the order of the descriptor.

    Raises:
        ImageNotAcceptable: it is too big, no XML, too deep, or has a document type.
    """
    if len(content) > MAX_BYTES:
        raise ImageNotAcceptable("The archive's .ovf is too big.")
    reader = _Reader()
    try:
        for at in range(0, len(content), _BLOCK):
            reader.parser.Parse(content[at : at + _BLOCK], False)
        reader.parser.Parse(b"", True)
    except (expat.ExpatError, UnicodeError, LookupError, ValueError) as broken:
        raise ImageNotAcceptable(f"The archive's .ovf is not XML: {broken}") from None
    return reader.found


class _Reader:
    """Collects elements while the parser goes through the descriptor."""

    def __init__(self) -> None:
        self.found: list[Element] = []
        self._path: list[str] = []
        self._inside: list[Element] = []
        self._text: list[str] = []
        self._text_size = 0
        self._seen = 0
        self.parser = expat.ParserCreate(namespace_separator="\n")
        self.parser.buffer_text = True
        self.parser.ordered_attributes = True  # a list: a dictionary takes several times as much
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def _doctype(self, *_names: object) -> None:
        raise ImageNotAcceptable(
            "The archive's .ovf has a document type, which can define entities; none needs one."
        )

    def _start(self, name: str, attributes: list[str]) -> None:
        plain = _plain(name)
        parent = self._path[-1] if self._path else ""
        self._path.append(plain)
        self._seen += 1
        if len(self._path) > _MAX_DEPTH or self._seen > _MAX_ELEMENTS:
            raise ImageNotAcceptable("The archive's .ovf has too many elements, or too deep ones.")
        if plain in _READ and _READ[plain] in {"", parent}:
            named = zip(attributes[::2], attributes[1::2], strict=True)
            element = Element(plain, {_plain(key): value for key, value in named})
            self._keep(element)
            self._inside.append(element)
        elif plain.endswith("Section") and plain not in _SECTIONS:
            self._keep(Element(UNKNOWN, {"name": plain}))
        self._text.clear()
        self._text_size = 0

    def _keep(self, element: Element) -> None:
        if len(self.found) >= _MAX_KEPT:
            raise ImageNotAcceptable("The archive's .ovf has too many elements.")
        self.found.append(element)

    def _end(self, name: str) -> None:
        plain = _plain(name)
        self._path.pop()
        if not self._inside:
            return
        if self._inside[-1].name == plain and (
            not self._path or _READ[plain] in {"", self._path[-1]}
        ):
            self._inside.pop()
        elif self._path and self._path[-1] == self._inside[-1].name:
            self._inside[-1].texts.setdefault(plain, "".join(self._text)[:_MAX_TEXT])
        self._text.clear()
        self._text_size = 0

    def _characters(self, text: str) -> None:
        if self._inside and self._text_size < _MAX_TEXT:
            self._text.append(text[:_MAX_TEXT])
            self._text_size += len(text)


def _plain(name: str) -> str:
    return name.rpartition("\n")[2]
