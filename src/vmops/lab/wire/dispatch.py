"""From a SOAP request to the method of a managed object, and back with what it gave."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyVmomi import vmodl
from pyVmomi.VmomiSupport import IsChildVersion, versionMap

from vmops.lab.kernel.kernel import Kernel, ManagedObject, not_found
from vmops.lab.kernel.property_path import compile_path, evaluate
from vmops.lab.kernel.service_instance import WIRE_VERSION
from vmops.lab.kernel.sessions import Exchange, Session, current_exchange, current_session
from vmops.lab.wire.requests import Requests
from vmops.lab.wire.soap import Call, fault_response, response
from vmops.lab.wire.soap_body import SoapBody
from vmops.lab.wire.strict import invalid_request
from vmops.lab.wire.wire_log import WireLog

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

log = logging.getLogger(__name__)

WAITING = frozenset({"WaitForUpdatesEx", "WaitForUpdates"})
"""Methods that end when their client goes away; others run to their end."""
LOOK_FOR_CLIENT_S = 1.0
"""How often it is looked whether the client of a waiting method is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One of the services a lab has: the namespace of its types, and its newest version."""

    namespace: str
    version: str
    session_of: Callable[[dict[str, str], Exchange], Session | None]
    """Gives the session of who calls, by the SOAP headers or the exchange."""


MAIN = Service(
    namespace="vim25", version=WIRE_VERSION, session_of=lambda _headers, exchange: exchange.session
)
"""vSphere's own service."""


class Dispatcher:
    """Answers SOAP requests to a service."""

    def __init__(self, kernel: Kernel, wire_log: WireLog, service: Service = MAIN) -> None:
        self._kernel = kernel
        self._wire_log = wire_log
        self._service = service
        self._requests = Requests(service.session_of)

    async def answer(
        self, body: SoapBody, soap_action: str, exchange: Exchange
    ) -> tuple[int, bytes]:
        """HTTP status and body for a request. Every failure becomes a fault."""
        version = self._service.version
        try:
            version = self._version(soap_action)
            call, session = await self._requests.read(body, version, exchange)
            result_type, result = await self._called(call, session, exchange)
            namespace = f"urn:{self._service.namespace}"
            return 200, response(call, result_type, result, version, namespace)
        except vmodl.MethodFault as fault:
            return 500, _fault(fault, version)
        except Exception as error:  # a client must get an answer whatever happened here
            log.exception("a request failed")
            return 500, _fault(system_error(error), version)

    async def _called(
        self, call: Call, session: Session | None, exchange: Exchange
    ) -> tuple[type, object]:
        # Who is not logged in names no operations here: they would crowd out those of others.
        operation = "" if session is None else call.headers.get("operationID", "")
        self._wire_log.count(call.method, operation)
        obj = self._kernel.registry.get(call.this)
        if obj.owner is not None and obj.owner is not session:
            raise not_found(call.this)
        exchange_token = current_exchange.set(exchange)
        session_token = None if session is None else current_session.set(session)
        if session is not None:
            session.calls += 1
            session.calls_now += 1
            session.last_active = datetime.now(UTC)
        try:
            if call.info is None:
                return self._fetched(obj, call)
            return call.info.result, await self._invoked(obj, call, call.info)
        finally:
            current_exchange.reset(exchange_token)
            if session is not None and session_token is not None:
                current_session.reset(session_token)
                session.calls_now -= 1
                session.last_active = datetime.now(UTC)

    def _version(self, soap_action: str) -> str:
        """The version, as pyVmomi calls it, that a SOAPAction header asks for."""
        service = self._service
        uri = soap_action.strip().strip('"').removeprefix("urn:")
        if uri in {"", service.namespace}:
            return service.version
        version: str | None = versionMap.get(uri)
        is_known = version is not None and uri.startswith(f"{service.namespace}/")
        if version is None or not is_known or not IsChildVersion(service.version, version):
            raise invalid_request(f'Unsupported version URI "urn:{uri}"')
        return version

    def _fetched(self, obj: ManagedObject, call: Call) -> tuple[type, object]:
        """Read one property, as pyVmomi does by a method that no type declares."""
        name = call.arguments.get("prop")
        if not name:
            raise invalid_request("Fetch needs the name of a property")
        value, declared = evaluate(obj, compile_path(obj.wire_type, str(name)))
        return declared or object, value

    async def _invoked(self, obj: ManagedObject, call: Call, info: MethodInfo) -> object:
        method = getattr(obj, call.method, None)
        if method is None:
            raise vmodl.fault.NotSupported()
        cls: type = type(obj)
        accepted = _accepted(cls, call.method)
        beyond = [name for name in call.arguments if name not in accepted]
        if beyond:
            raise vmodl.fault.NotSupported(msg=f"{call.method} takes no {', '.join(beyond)} here")
        given = {each.name: call.arguments.get(each.name) for each in info.params}
        result = method(**{name: given[name] for name in given if name in accepted})
        if not inspect.isawaitable(result):
            return result
        if call.method in WAITING:
            return await _while_connected(result, current_exchange.get())
        return await result


def system_error(error: BaseException) -> vmodl.MethodFault:
    """The fault for a failure nobody foresaw; its details stay in the log."""
    return vmodl.fault.SystemError(reason=f"{type(error).__name__} in the lab, see its log")


async def _while_connected(result: Awaitable[object], exchange: Exchange) -> object:
    """Wait for what may never come, but not longer than the client does."""
    waiting = asyncio.ensure_future(result)
    try:
        while not (await asyncio.wait([waiting], timeout=LOOK_FOR_CLIENT_S))[0]:
            if not exchange.is_connected():
                raise vmodl.fault.RequestCanceled()
        return waiting.result()
    finally:
        waiting.cancel()


@lru_cache(maxsize=4096)
def _accepted(cls: type[Any], method: str) -> frozenset[str]:
    return frozenset(inspect.signature(getattr(cls, method)).parameters) - {"self"}


def _fault(fault: vmodl.MethodFault, version: str) -> bytes:
    try:
        return fault_response(fault, version)
    except TypeError as error:  # a field that the fault must have is not set
        log.exception("a fault could not be written")
        return fault_response(system_error(error), version)
