"""pyVmomi's deserialiser with bounds: how much of what a request may have, and of which types.

pyVmomi trusts the server that it reads from; here it reads what anybody may send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyVmomi import vmodl
from pyVmomi.SoapAdapter import NS_SEP, SoapDeserializer
from pyVmomi.VmomiSupport import Array, Enum, GetCompatibleType, byte, long, short
from pyVmomi.VmomiSupport import ManagedObject as Reference

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

MAX_DEPTH = 100
"""Elements inside elements; the deepest real request has about 20."""
MAX_ELEMENTS = 100_000
"""A filter for ten thousand machines has half as many."""
MAX_ATTRIBUTES = 32
"""Of one element."""
MAX_NAMESPACES = 1_000
"""Declared and not yet out of scope."""
MAX_TEXT = 16 * 1024 * 1024
"""Characters of one element; an OVF descriptor has some millions."""
MAX_TYPE_NAME = 128
"""Characters of a type's name; the longest there is has about 70."""
MAX_TOKEN_BYTES = 256 * 1024
"""Of one tag, comment or instruction."""
CHUNK_BYTES = 64 * 1024
"""Read at a time, so that other threads have their turn in between."""

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,20}\s*", re.ASCII)
_BITS: dict[type, int] = {byte: 8, short: 16, int: 32, long: 64}
_FLOAT_DIGITS = 400


def invalid_request(message: str) -> Exception:
    """The fault for a request that cannot be understood."""
    fault: Exception = vmodl.fault.InvalidRequest(msg=message)
    return fault


@dataclass(slots=True)
class Bounds:
    """What one request has had so far; each part of its reader tells what comes."""

    elements: int = 0
    namespaces: int = 0

    def element(self, depth: int, attributes: dict[str, str]) -> None:
        """Count an element.

        Raises:
            vmodl.fault.InvalidRequest: it is one too many, too deep, or has too many attributes.
        """
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise invalid_request(f"The request has more than {MAX_ELEMENTS} elements")
        if depth > MAX_DEPTH:
            raise invalid_request("The request is nested too deeply")
        if len(attributes) > MAX_ATTRIBUTES:
            raise invalid_request(f"An element has more than {MAX_ATTRIBUTES} attributes")

    def namespace(self, change: int) -> None:
        """Count a namespace that comes into scope, or goes out of it.

        Raises:
            vmodl.fault.InvalidRequest: there are too many.
        """
        self.namespaces += change
        if self.namespaces > MAX_NAMESPACES:
            raise invalid_request(f"More than {MAX_NAMESPACES} namespaces are declared")


class Text:
    """The text of an element, in the pieces it comes in."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def add(self, text: str) -> None:
        """Take a piece.

        Raises:
            vmodl.fault.InvalidRequest: the element has too much text.
        """
        self._length += len(text)
        if self._length > MAX_TEXT:
            raise invalid_request(f"An element has more than {MAX_TEXT} characters")
        self._parts.append(text)

    def clear(self) -> None:
        """Forget what came, for the next element."""
        self._parts.clear()
        self._length = 0

    def whole(self) -> str:
        """All of it."""
        return "".join(self._parts)


class StrictDeserializer(SoapDeserializer):
    """Reads one parameter; every value has its declared type, or one derived from it."""

    def __init__(self, version: str, depth: int, bounds: Bounds) -> None:
        super().__init__(version=version)
        self._depth = depth
        self._bounds = bounds
        self._text = Text()

    def LookupWsdlType(
        self, ns: str, name: str, allowManagedObjectReference: bool = False
    ) -> object:
        """Find a type, or raise vmodl.fault.InvalidType."""
        # pyVmomi makes a type for every name that begins with ArrayOf, and keeps it.
        if len(name) <= MAX_TYPE_NAME and not name.startswith("ArrayOfArrayOf"):
            try:
                return super().LookupWsdlType(ns, name, allowManagedObjectReference)
            except KeyError:
                pass
        shown = name[:MAX_TYPE_NAME]
        raise vmodl.fault.InvalidType(argument=shown, msg=f"The type {shown} is not known")

    def StartElementHandler(self, tag: str, attributes: dict[str, str]) -> None:
        """Begin an element, as pyVmomi does, if it is within bounds and fits what holds it."""
        self._bounds.element(self._depth + len(self.stack) + 1, attributes)
        self._text.clear()
        declared = self._declared(tag)
        super().StartElementHandler(tag, attributes)
        began = self.stack[-1]
        cls = began if isinstance(began, type) else type(began)
        if not self._fits(cls, declared):
            name = tag.rpartition(NS_SEP)[2]
            raise invalid_request(
                f"Element {name[:MAX_TYPE_NAME]} must be {_name(declared)}, not {_name(cls)}"
            )

    def EndElementHandler(self, tag: str) -> None:
        """End an element: its text becomes a value of its type, if it is one."""
        if self.stack:
            self.data = self._text.whole()
            self._text.clear()
            if isinstance(self.stack[-1], type):
                _check_text(self.stack[-1], self.data)
        super().EndElementHandler(tag)

    def CharacterDataHandler(self, data: str) -> None:
        """Take text; pyVmomi would copy all there is for every piece."""
        self._text.add(data)

    def StartNamespaceDeclHandler(self, prefix: str | None, uri: str) -> None:
        """Take note of a namespace."""
        self._bounds.namespace(1)
        super().StartNamespaceDeclHandler(prefix, uri)

    def EndNamespaceDeclHandler(self, prefix: str | None) -> None:
        """Forget a namespace."""
        self._bounds.namespace(-1)
        super().EndNamespaceDeclHandler(prefix)

    def _declared(self, tag: str) -> type:
        if not self.stack:
            declared: type = self.resultType
            return declared
        holder = self.stack[-1]
        if isinstance(holder, Array):
            item: type = holder.Item
            return item
        if isinstance(holder, type):
            raise invalid_request(f"Element {tag.rpartition(NS_SEP)[2][:80]} is out of place")
        of_field: type = holder._GetPropertyInfo(tag.rpartition(NS_SEP)[2]).type
        return of_field

    def _fits(self, cls: type, declared: type) -> bool:
        if issubclass(declared, Array) and not issubclass(cls, list):
            declared = declared.Item
        if declared is object or issubclass(cls, declared):
            return True
        if issubclass(cls, Array) and issubclass(declared, Array):
            return issubclass(cls.Item, declared.Item) or issubclass(declared.Item, cls.Item)
        if issubclass(declared, Exception):
            return issubclass(cls, vmodl.LocalizedMethodFault)
        if issubclass(declared, (int, float)) and declared is not bool:
            return issubclass(cls, (int, float)) and cls is not bool
        # An older version has the base type only.
        return issubclass(cls, GetCompatibleType(declared, self.version))


def parse_in_chunks(parser: XMLParserType, body: bytes) -> None:
    """Feed a parser.

    Raises:
        vmodl.fault.InvalidRequest: one tag, comment or instruction has no end in sight.
        xml.parsers.expat.ExpatError: it is no XML.
    """
    for start in range(0, len(body), CHUNK_BYTES):
        chunk = body[start : start + CHUNK_BYTES]
        parser.Parse(chunk, False)
        if start + len(chunk) - max(0, parser.CurrentByteIndex) > MAX_TOKEN_BYTES:
            raise invalid_request(f"A tag or a comment has more than {MAX_TOKEN_BYTES} bytes")
    parser.Parse(b"", True)


def _check_text(cls: type, text: str) -> None:
    """Refuse what pyVmomi would take: numbers beyond their type, names of a class's attributes."""
    bits = _BITS.get(cls)
    if bits is not None:
        if not _NUMBER.fullmatch(text) or not -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
            raise invalid_request(f"'{text[:40]}' does not fit {_name(cls)}")
    elif issubclass(cls, float):
        if len(text) > _FLOAT_DIGITS or "_" in text:
            raise invalid_request(f"'{text[:40]}' does not fit {_name(cls)}")
    elif issubclass(cls, Enum):
        if text not in cls.values:
            raise invalid_request(f"'{text[:80]}' does not fit {_name(cls)}")
    elif issubclass(cls, Reference) and len(text) > MAX_TYPE_NAME * 2:
        raise invalid_request("The name of an object is too long")


def _name(cls: type) -> str:
    return cls.__name__.rpartition(".")[2]
