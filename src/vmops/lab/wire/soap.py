"""SOAP 1.1 as vSphere speaks it: from a request's bytes to a call, from a result to bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from xml.parsers.expat import ExpatError, ParserCreate

from pyVmomi import vmodl
from pyVmomi.SoapAdapter import NS_SEP, XMLNS_SOAPENV
from pyVmomi.VmomiSupport import (
    F_OPTIONAL,
    XMLNS_VMODL_BASE,
    Array,
    GetWsdlMethod,
    GuessWsdlType,
    ManagedObject,
)

from vmops.lab.wire.codec import encoder, escape
from vmops.lab.wire.fault_messages import message_of
from vmops.lab.wire.strict import (
    MAX_TYPE_NAME,
    Bounds,
    StrictDeserializer,
    Text,
    invalid_request,
    parse_in_chunks,
)

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import ManagedObject as Reference
    from pyVmomi.VmomiSupport import MethodInfo

_ENVELOPE = XMLNS_SOAPENV + NS_SEP + "Envelope"
_HEADER = XMLNS_SOAPENV + NS_SEP + "Header"
_BODY = XMLNS_SOAPENV + NS_SEP + "Body"

_START = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<soapenv:Envelope xmlns:soapenv="{XMLNS_SOAPENV}"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n<soapenv:Body>\n'
)
_END = "\n</soapenv:Body>\n</soapenv:Envelope>"


@dataclass(slots=True)
class Call:
    """One method call off the wire."""

    method: str
    this: Reference
    """Reference of the object called."""
    arguments: dict[str, object]
    """Those that were sent, by wire name."""
    info: MethodInfo | None
    """pyVmomi's description of the method; None for the pseudo method Fetch."""
    headers: dict[str, str] = field(default_factory=dict)
    """Plain text SOAP headers, such as operationID."""


Admit = Callable[["Reference", str, "dict[str, str]"], bool]
"""Is told the object, the method and the headers, and whether its parameters are to be read."""


def parse(body: bytes, version: str, admit: Admit) -> Call:
    """Read a request, its parameters only after ``admit`` has seen what comes before them.

    Safe on any thread. What ``admit`` raises is raised here.

    Raises:
        vmodl.fault.InvalidRequest: it is no XML, has a DOCTYPE, or does not fit the types.
        vmodl.fault.InvalidType: it names a type that there is not.
        vmodl.fault.MethodNotFound: the object's type has no such method.
    """
    reader = _Reader(version, admit)
    try:
        call = reader.read(body)
    except vmodl.MethodFault:
        raise
    except ExpatError as error:
        raise invalid_request(f"XML document is not well-formed: {error}") from error
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        AssertionError,
    ) as error:
        # pyVmomi's deserialiser reports what does not fit its types by any of these, and expat
        # what is not in the encoding that the document says it is in.
        raise invalid_request(f"Unable to deserialize the request: {str(error)[:500]}") from error
    for parameter in call.info.params if call.info is not None else ():
        if not parameter.flags & F_OPTIONAL and parameter.name not in call.arguments:
            if issubclass(parameter.type, list):
                continue
            raise invalid_request(
                f"Required parameter {parameter.name} is missing while parsing call information"
                f" for method {call.method}"
            )
    return call


def response(
    call: Call, result_type: type, result: object, version: str, namespace: str = "urn:vim25"
) -> bytes:
    """The answer of a method that returned; ``namespace`` is that of the service's types.

    Raises:
        TypeError: the result does not fit its type.
    """
    value = encoder(version).text("returnval", result_type, result)
    name = call.method
    return f'{_START}<{name}Response xmlns="{namespace}">{value}</{name}Response>{_END}'.encode()


def fault_response(fault: vmodl.MethodFault, version: str) -> bytes:
    """The answer of a method that raised; goes out with HTTP status 500."""
    detail = encoder(version).fault_detail(fault)
    return (
        f"{_START}<soapenv:Fault><faultcode>ServerFaultCode</faultcode>"
        f"<faultstring>{escape(message_of(fault))}</faultstring>"
        f"<detail>{detail}</detail></soapenv:Fault>{_END}"
    ).encode()


@lru_cache(maxsize=1024)
def method_info(wire_type: type[Reference], name: str) -> MethodInfo:
    """PyVmomi's description of a method by its wire name.

    Raises:
        KeyError: the type has no such method.
    """
    for info in wire_type._GetMethodList():
        if info.wsdlName == name:
            return info
    # An older client may name an object's base type only; then the method tells its own type.
    info = GetWsdlMethod(XMLNS_VMODL_BASE, name).info
    if not issubclass(info.type, wire_type):
        raise KeyError(name)
    return info


class _Reader:
    """Walks the envelope and hands each parameter to pyVmomi's deserialiser."""

    def __init__(self, version: str, admit: Admit) -> None:
        self._version = version
        self._admit = admit
        self._bounds = Bounds()
        self.admitted = True
        # Shared with the deserialisers, which copy an empty one.
        self._namespaces: dict[str | None, list[str]] = {"xml": ["xml"]}
        self._depth = 0
        self._section = ""
        self._header = ""
        self._headers: dict[str, str] = {}
        self._text = Text()
        self._method = ""
        self._this: Reference | None = None
        self._reading_this: type[Reference] | None = None
        self._info: MethodInfo | None = None
        self._parameters: dict[str, type] = {}
        self._arguments: dict[str, object] = {}
        self._lists: dict[str, list[object]] = {}
        self._pending: tuple[str, bool, StrictDeserializer] | None = None

    def read(self, body: bytes) -> Call:
        parser = self._parser = ParserCreate(namespace_separator=NS_SEP)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.add
        parser.StartNamespaceDeclHandler = self._start_namespace
        parser.EndNamespaceDeclHandler = self._end_namespace
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parse_in_chunks(parser, body)
        if not self._method or self._this is None:
            raise invalid_request("The request calls no method of an object")
        return Call(self._method, self._this, self._arguments, self._info, self._headers)

    def _start_namespace(self, prefix: str | None, uri: str) -> None:
        self._bounds.namespace(1)
        self._namespaces.setdefault(prefix, []).append(uri)

    def _end_namespace(self, prefix: str | None) -> None:
        self._bounds.namespace(-1)
        self._namespaces[prefix].pop()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._finish_parameter()
        self._depth += 1
        self._text.clear()
        self._bounds.element(self._depth, attributes)
        name = tag.rpartition(NS_SEP)[2]
        if self._depth == 1:
            if tag != _ENVELOPE:
                raise invalid_request("The request is not a SOAP 1.1 envelope")
        elif self._depth == 2:
            self._section = tag
        elif self._section == _HEADER:
            self._header = name
        elif self._section == _BODY:
            self._start_in_body(name, tag, attributes)

    def _start_in_body(self, name: str, tag: str, attributes: dict[str, str]) -> None:
        if self._depth == 3:
            if self._method:
                raise invalid_request("The request calls more than one method")
            self._method = name
        elif self._this is None:
            if name != "_this":
                raise invalid_request("The first element of a method must be _this")
            self._reading_this = _object_type(attributes["type"].rpartition(":")[2])
        elif self._depth == 4 and self.admitted:
            self._start_parameter(name, tag, attributes)

    def _start_parameter(self, name: str, tag: str, attributes: dict[str, str]) -> None:
        declared = self._parameters.get(name)
        if declared is None:
            raise invalid_request(f"Unexpected element {name} in a call of {self._method}")
        is_list = issubclass(declared, Array)
        if name in self._arguments and not is_list:
            raise invalid_request(f"Parameter {name} is given twice")
        reader = StrictDeserializer(self._version, self._depth - 1, self._bounds)
        item = declared.Item if issubclass(declared, Array) else declared
        reader.Deserialize(self._parser, item, False, self._namespaces)
        self._pending = (name, is_list, reader)
        self._depth -= 1  # its end tag goes to the deserialiser
        reader.StartElementHandler(tag, attributes)

    def _finish_parameter(self) -> None:
        if self._pending is None:
            return
        name, is_list, reader = self._pending
        self._pending = None
        value = reader.GetResult()
        if is_list:
            self._lists.setdefault(name, []).append(value)
            self._arguments[name] = self._lists[name]
        else:
            self._arguments[name] = value

    def _end(self, _tag: str) -> None:
        self._finish_parameter()
        if self._section == _HEADER and self._depth == 3:
            self._headers[self._header] = self._text.whole().strip()
        elif self._reading_this is not None:
            self._end_this(self._reading_this, self._text.whole().strip())
        self._text.clear()
        self._depth -= 1

    def _end_this(self, cls: type[Reference], moid: str) -> None:
        self._reading_this = None
        self._this = cls(moid)
        self.admitted = self._admit(self._this, self._method, self._headers)
        if not self.admitted:
            return
        if self._method == "Fetch":
            self._parameters = {"prop": str}
            return
        try:
            self._info = method_info(cls, self._method)
        except KeyError:
            raise vmodl.fault.MethodNotFound(receiver=self._this, method=self._method) from None
        self._parameters = {each.name: each.type for each in self._info.params}


def _object_type(name: str) -> type[Reference]:
    cls = GuessWsdlType(name) if len(name) <= MAX_TYPE_NAME else None
    if not (isinstance(cls, type) and issubclass(cls, ManagedObject)):
        raise invalid_request(f"There are no objects of type {name[:MAX_TYPE_NAME]}")
    return cls


def _refuse_doctype(*_: object) -> None:
    raise invalid_request("A document type declaration is not allowed")
