"""From pyVmomi values to the XML of one API version.

pyVmomi's own serialiser is the model for what goes out; this one keeps the field lists of each
type ready, which makes bulk answers several times faster. Only types are kept, never values.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from pyVmomi import Iso8601, vmodl
from pyVmomi.VmomiSupport import (
    F_LINK,
    F_OPTIONAL,
    XMLNS_XSD,
    Array,
    DataObject,
    Enum,
    GetCompatibleType,
    GetQualifiedWsdlName,
    IsChildVersion,
    ManagedMethod,
    PropertyPath,
    binary,
)
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.wire.fault_messages import message_of

_NOT_PLAIN = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}

ANY: type = object
Write = Callable[[str], None]


def escape(text: str) -> str:
    """Text for an element's content; what XML 1.0 cannot say becomes U+FFFD."""
    if _NOT_PLAIN.search(text) is None:
        return text
    return _NOT_PLAIN.sub(lambda found: _ESCAPES.get(found.group(), "\ufffd"), text)


class Encoder:
    """Writes values as one API version's clients expect them.

    Fields that the version does not have are left out, and types that it does not have become
    the nearest one above that it has.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self._plans: dict[type, tuple[tuple[str, type, bool], ...]] = {}
        self._names: dict[type, str] = {}
        self._compatible: dict[type, type] = {}

    def text(self, tag: str, declared: type, value: object) -> str:
        """The element, or elements for a list; nothing for None.

        Raises:
            TypeError: a field that must be set is not, or has a value its type does not have.
        """
        parts: list[str] = []
        if value is not None:
            self._element(parts.append, tag, declared, value)
        return "".join(parts)

    def fault_detail(self, fault: vmodl.MethodFault) -> str:
        """The one element inside ``soapenv:detail``."""
        parts: list[str] = []
        name = self._type_name(self._as_known(type(fault)))
        parts.append(f'<{name}Fault xmlns="urn:vim25" xsi:type="{name}">')
        self._fields(parts.append, fault)
        parts.append(f"</{name}Fault>")
        return "".join(parts)

    def _element(self, write: Write, tag: str, declared: type, value: object) -> None:
        if isinstance(value, str):
            self._string(write, tag, declared, value)
        elif isinstance(value, bool | int | float | datetime | bytes | bytearray):
            kind = _xsi(_scalar_name(value.__class__)) if declared is ANY else ""
            write(f"<{tag}{kind}>{_scalar(value)}</{tag}>")
        elif isinstance(value, DataObject):
            self._data_object(write, tag, declared, value)
        elif isinstance(value, Reference):
            kind = _xsi("ManagedObjectReference") if declared is ANY else ""
            write(
                f'<{tag}{kind} type="{self._type_name(self._as_known(value.__class__))}">'
                f"{escape(value._moId)}</{tag}>"
            )
        elif isinstance(value, list):
            self._list(write, tag, declared, value)
        elif isinstance(value, ManagedMethod):
            kind = _xsi("xsd:string") if declared is ANY else ""
            write(f"<{tag}{kind}>{value.info.wsdlName}</{tag}>")
        elif isinstance(value, type):
            kind = _xsi("xsd:string") if declared is ANY else ""
            write(f"<{tag}{kind}>{GetQualifiedWsdlName(value)[1]}</{tag}>")
        else:
            raise TypeError(f"{tag}: nothing the wire can carry: {value!r}")

    def _string(self, write: Write, tag: str, declared: type, value: str) -> None:
        if declared is ANY:
            cls = value.__class__
            name = "xsd:string" if cls is str or cls is PropertyPath else self._type_name(cls)
            write(f"<{tag}{_xsi(name)}>{escape(value)}</{tag}>")
            return
        if issubclass(declared, Enum) and value not in declared.values:
            raise TypeError(f"{tag}: {declared.__name__} has no value {value!r}")
        write(f"<{tag}>{escape(value)}</{tag}>")

    def _data_object(self, write: Write, tag: str, declared: type, value: DataObject) -> None:
        if isinstance(value, vmodl.MethodFault) and declared is not vmodl.LocalizedMethodFault:
            kind = _xsi("LocalizedMethodFault") if declared is ANY else ""
            name = self._type_name(self._as_known(value.__class__))
            write(f'<{tag}{kind}><fault xsi:type="{name}">')
            self._fields(write, value)
            write("</fault>")
            write(f"<localizedMessage>{escape(message_of(value))}</localizedMessage></{tag}>")
            return
        known = self._as_known(value.__class__)
        write(f"<{tag}>" if known is declared else f"<{tag}{_xsi(self._type_name(known))}>")
        self._fields(write, value)
        write(f"</{tag}>")

    def _fields(self, write: Write, value: DataObject) -> None:
        plan = self._plans.get(value.__class__)
        if plan is None:
            plan = self._plans[value.__class__] = self._plan(value.__class__)
        state = value.__dict__
        for name, declared, optional in plan:
            field: Any = state.get(name)
            cls = field.__class__
            if cls is str and declared is str:
                write(f"<{name}>{escape(field)}</{name}>")
            elif cls is bool and declared is bool:
                write(f"<{name}>true</{name}>" if field else f"<{name}>false</{name}>")
            elif field is None:
                if not optional:
                    raise TypeError(f"{value.__class__.__name__}.{name} must be set")
            elif isinstance(field, list) and not field and declared is not ANY:
                continue
            else:
                self._element(write, name, declared, field)

    def _list(self, write: Write, tag: str, declared: type, value: list[object]) -> None:
        if declared is not ANY:
            if not issubclass(declared, Array):
                raise TypeError(f"{tag}: {declared.__name__} is not a list")
            for each in value:
                self._element(write, tag, declared.Item, each)
            return
        item: type | None = getattr(value, "Item", None)
        if item is None:
            raise TypeError(f"{tag}: a list inside xsd:anyType must know its type")
        child = _item_name(item)
        write(f"<{tag}{_xsi('ArrayOf' + child[:1].upper() + child[1:])}>")
        for each in value:
            self._element(write, child, item, each)
        write(f"</{tag}>")

    def _plan(self, cls: type[Any]) -> tuple[tuple[str, type, bool], ...]:
        # `msg` is pyVmomi's own; on the wire the text stands beside the fault, not in it.
        is_fault = cls is not vmodl.LocalizedMethodFault and issubclass(cls, vmodl.MethodFault)
        return tuple(
            (
                info.name,
                str if info.flags & F_LINK and not issubclass(info.type, list) else info.type,
                bool(info.flags & F_OPTIONAL),
            )
            for info in cls._GetPropertyList()
            if IsChildVersion(self.version, info.version) and not (is_fault and info.name == "msg")
        )

    def _as_known(self, cls: type) -> type:
        known = self._compatible.get(cls)
        if known is None:
            known = self._compatible[cls] = GetCompatibleType(cls, self.version)
        return known

    def _type_name(self, cls: type) -> str:
        name = self._names.get(cls)
        if name is None:
            namespace, local = GetQualifiedWsdlName(cls)
            name = self._names[cls] = f"xsd:{local}" if namespace == XMLNS_XSD else local
        return name


@lru_cache(maxsize=8)
def encoder(version: str) -> Encoder:
    """The encoder of an API version, such as ``vim.version.v8_0_3_0``."""
    return Encoder(version)


def _xsi(name: str) -> str:
    return f' xsi:type="{name}"'


def _scalar_name(cls: type) -> str:
    if issubclass(cls, bytes | bytearray):
        return "xsd:base64Binary"
    name: str = GetQualifiedWsdlName(cls)[1]
    return f"xsd:{name}"


def _scalar(value: float | datetime | bytes | bytearray) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return Iso8601.ISO8601Format(value)
    return base64.b64encode(value).decode("ascii")


def _item_name(item: type) -> str:
    if item in (ManagedMethod, PropertyPath, type):
        return "string"
    if issubclass(item, Reference):
        return "ManagedObjectReference"
    if item is binary:
        return "base64Binary"
    name: str = GetQualifiedWsdlName(item)[1]
    return name
