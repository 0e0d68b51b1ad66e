"""One SOAP call over a pooled connection, with pyVmomi's types on both ends.

pyVmomi's own adapter is not used: it takes every cookie that any answer brings (so a late answer to
an expired session overwrites a new login), checks a pin only where verification failed, has one
request header for all threads, and throws at words that are newer than it is.
"""

from __future__ import annotations

import functools
import http.cookies
import io
from typing import TYPE_CHECKING, Any, NoReturn
from xml.parsers.expat import ExpatError, XMLParserType

from pyVmomi import SoapAdapter, VmomiSupport, vmodl

from vmops.errors import SessionOverload, Unavailable
from vmops.numbers import whole_number
from vmops.vsphere.wire.answers import guard, refuse_many_tags, unreadable
from vmops.vsphere.wire.moref import Moref
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.silence import Patience

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

SESSION_COOKIE = "vmware_soap_session"
# The oldest API that vmops speaks, and what it speaks until the server has told its own.
OLDEST_VERSION = "6.5"
# What pyVmomi raises at an answer that is none.
_READING = (
    ExpatError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    ArithmeticError,
    RecursionError,
)


class SoapFault(Exception):
    """A fault as it came over the wire; `faults.translate` makes one of our errors of it."""

    def __init__(self, fault: vmodl.MethodFault) -> None:
        super().__init__(type(fault).__name__)
        self.fault = fault


class _Deserializer(SoapAdapter.SoapDeserializer):
    """Takes words of an enumeration that pyVmomi does not know, the empty one included."""

    def EndElementHandler(self, tag: str) -> object:  # noqa: N802 - pyVmomi's name
        kind = self.stack[-1] if self.stack else None
        if (
            isinstance(kind, type)
            and issubclass(kind, VmomiSupport.Enum)
            and self.data not in vars(kind)
        ):
            self.stack[-1] = _any_word(kind)
        return super().EndElementHandler(tag)


@functools.cache
def _any_word(kind: type[VmomiSupport.Enum]) -> type[str]:
    """What pyVmomi takes for a plain type, but makes words of the enumeration ``kind``."""
    return type(kind.__name__, (str,), {"__new__": lambda _, word: kind(word)})


class _ResponseDeserializer(SoapAdapter.SoapResponseDeserializer):
    def __init__(self, stub: Stub) -> None:
        super().__init__(stub)
        self.deser = _Deserializer(stub)
        self.is_answer = False

    @property
    def parser(self) -> XMLParserType:
        """What reads an answer; pyVmomi makes one for each."""
        return self._parser

    @parser.setter
    def parser(self, made: XMLParserType) -> None:
        guard(made)
        self._parser = made

    @parser.deleter
    def parser(self) -> None:
        del self._parser

    def StartElementHandler(self, tag: str, attr: dict[str, str]) -> object:  # noqa: N802 - pyVmomi's name
        if tag.endswith("Response") or tag == self.soapFaultTag:
            self.is_answer = True
        return super().StartElementHandler(tag, attr)


def _is_result(result: object, info: MethodInfo, *, is_fault: bool) -> bool:
    """Whether it is a fault, or of the type that the method gives; an answer may name any."""
    if is_fault or isinstance(result, Exception):
        return is_fault and isinstance(result, Exception)
    return result is None or not isinstance(info.result, type) or isinstance(result, info.result)


@functools.cache
def wire_method(kind: type[Moref], name: str) -> MethodInfo:
    """Find pyVmomi's description of a method, by its name on the wire ("PowerOnVM_Task").

    Raises:
        TypeError: the type has no such method; that is a mistake of the program.
    """
    for info in kind._GetMethodList():
        if info.wsdlName == name:
            return info
    raise TypeError(f"{kind.__name__} has no method {name}")


def version_for(api_version: str) -> str:
    """Find pyVmomi's version for an ``about.apiVersion``: the newest that both sides know."""
    wanted = _numbers(api_version)
    best = ""
    best_numbers: tuple[int, ...] = ()
    for uri, version in VmomiSupport.versionMap.items():
        namespace, _, text = uri.partition("/")
        numbers = _numbers(text)
        if namespace == "vim25" and numbers and best_numbers < numbers <= wanted:
            best, best_numbers = version, numbers
    return best or str(VmomiSupport.versionMap[f"vim25/{OLDEST_VERSION}"])


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [whole_number(part) for part in text.split(".")]
    return tuple(n for n in numbers if n is not None) if None not in numbers else ()


class Stub(SoapAdapter.SoapStubAdapterBase):
    """Encodes calls, sends them, decodes answers. Safe for any number of threads."""

    def __init__(self, pool: ConnectionPool, path: str) -> None:
        super().__init__(VmomiSupport.versionMap[f"vim25/{OLDEST_VERSION}"])
        self.requestContext = None
        self.pool = pool
        self.path = path
        self.cookie = ""

    def speak(self, api_version: str) -> None:
        """Use the newest version that pyVmomi and the server both know."""
        self.ComputeVersionInfo(version_for(api_version))

    def invoke(
        self,
        moref: Moref,
        info: MethodInfo,
        arguments: list[object],
        *,
        operation_id: str = "",
        patience: Patience | None = None,
        takes_cookie: bool = False,
    ) -> Any:
        """Make the call and return what it returns.

        ``patience`` None: as `ConnectionPool.borrow`. ``takes_cookie``: the session cookie of the
        answer is used from now on. Only logging in asks for that.

        Raises:
            SoapFault: the server's fault.
            ConnectionLost, SessionOverload, Unavailable, VsphereFault: there is no usable answer.
        """
        body = self._request(moref, info, arguments, operation_id)
        headers = {"SOAPAction": self.versionId, "Content-Type": "text/xml; charset=UTF-8"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        with self.pool.borrow(patience) as connection:
            response, answer = connection.post(self.path, headers, body)
        if response.status not in {200, 500}:
            raise self._no_soap(response.status, response.reason)
        result = self._decode(info, answer, is_fault=response.status == 500)
        if response.status == 500:
            raise SoapFault(result)
        if takes_cookie:
            self._take_cookie(response.headers.get_all("Set-Cookie") or [])
        return result

    def InvokeMethod(self, mo: Moref, info: MethodInfo, args: object) -> NoReturn:  # noqa: N802
        """Refuse calls and lazy reads on pyVmomi's objects: each would bypass the session."""
        raise TypeError(
            f"{type(mo).__name__}.{info.name}: call through Session.call, read through"
            " Session.properties"
        )

    def _request(
        self, moref: Moref, info: MethodInfo, arguments: list[object], operation_id: str
    ) -> bytes:
        context = VmomiSupport.GetRequestContext()  # of this thread
        if operation_id:
            context["operationID"] = operation_id
        try:
            return bytes(self.SerializeRequest(moref, info, arguments))
        finally:
            context.pop("operationID", None)

    def _decode(self, info: MethodInfo, answer: bytes, *, is_fault: bool) -> Any:
        try:
            refuse_many_tags(answer)
            reader = _ResponseDeserializer(self)
            # A stream: of bytes pyVmomi does not find out that their end is missing.
            result = reader.Deserialize(io.BytesIO(answer), info.result)
            if not reader.is_answer or not _is_result(result, info, is_fault=is_fault):
                raise ValueError("not the response of this method")
        except _READING as error:
            raise unreadable(f"{type(error).__name__}: {error}", info.wsdlName) from error
        return result

    def _no_soap(self, status: int, reason: str) -> Unavailable:
        where = f"{self.pool.address.url} answers with HTTP status {status} ({reason})"
        if status in {429, 503}:
            return SessionOverload(f"{where}: it is overloaded or still starting.")
        return Unavailable(f"{where}: is this a vSphere endpoint?")

    def _take_cookie(self, headers: list[str]) -> None:
        for header in headers:
            for name, morsel in http.cookies.SimpleCookie(header).items():
                if name == SESSION_COOKIE:
                    # The quotes belong to the value: vCenter compares them too.
                    self.cookie = f"{name}={morsel.coded_value}"
