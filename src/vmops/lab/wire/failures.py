"""Failures on purpose: how a client's tests find out what it does when a call goes wrong.

A call is named by its SOAP method, "CreateVM_Task", or by its HTTP method and route, "PUT /folder".
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from aiohttp import web
from aiohttp.typedefs import Middleware
from pyVmomi import vim, vmodl

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.service_instance import WIRE_VERSION
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.wire.soap import fault_response
from vmops.lab.wire.soap_body import SoapBody

_METHOD = re.compile(rb"Body>\s*<(?:\w+:)?(\w+)")
_TASK = re.compile(rb'type="Task">([^<]+)<')
_REASON = "a failure on purpose"
_LOOK_S = 0.005


class How(StrEnum):
    """What becomes of a call that is to fail."""

    REFUSED = "refused"
    """A fault, or an HTTP status, comes instead of an effect."""
    TASK_FAILS = "task fails"
    """A task is given back that ends with a fault and had no effect. For methods that start one."""
    TASK_HANGS = "task hangs"
    """A task is given back that has no effect and does not end before it is cancelled."""
    LOST_BEFORE = "lost before"
    """The connection is dropped, and nothing was done."""
    LOST_AFTER = "lost after"
    """The call has its effect, also that of its task, and the connection is dropped."""
    LOST_AT_ONCE = "lost at once"
    """The connection is dropped after the call, while the task that it began may still run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One call that fails. ``nth`` counts from 1; 0 is every one. ``status`` is for files.

    ``fault`` is raised, or ends the task; without it a SystemError does.
    """

    call: str
    how: How
    nth: int = 1
    status: int = 500
    fault: vmodl.MethodFault | None = None


class Failures:
    """The failures that are planned, and the calls that came since. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._planned: tuple[Failure, ...] = ()
        self._calls: list[str] = []
        self._numbers: Counter[str] = Counter()
        self._watching = False

    def plan(self, *failures: Failure) -> None:
        """Forget what was planned and came, note the calls from now on, and let these fail."""
        with self._lock:
            self._planned = failures
            self._calls = []
            self._numbers.clear()
            self._watching = True

    def clear(self) -> None:
        """Let nothing fail any more, and note no calls."""
        self.plan()
        with self._lock:
            self._watching = False

    def calls(self) -> list[str]:
        """The names of the calls that came since `plan`, in order."""
        with self._lock:
            return list(self._calls)

    @property
    def watching(self) -> bool:
        """Whether calls are noted."""
        return self._watching

    def take(self, call: str) -> Failure | None:
        """Note a call; the failure that is planned for it, if there is one."""
        with self._lock:
            self._calls.append(call)
            self._numbers[call] += 1
            for failure in self._planned:
                if failure.call == call and failure.nth in (0, self._numbers[call]):
                    return failure
        return None


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def middleware(kernel: Kernel, failures: Failures) -> Middleware:
    """The middleware that lets calls fail."""

    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not failures.watching:
            return await handler(request)
        is_soap = request.path.startswith("/sdk")
        call = await _soap_method(request) if is_soap else _route(request)
        failure = failures.take(call)
        if failure is None:
            return await handler(request)
        if failure.how in (How.LOST_AFTER, How.LOST_AT_ONCE):
            answer = await handler(request)
            if failure.how is How.LOST_AFTER:
                await _task_ended(kernel, answer)
        elif failure.how is How.TASK_FAILS:
            return _failing_task(kernel, call, _fault_of(failure))
        elif failure.how is How.TASK_HANGS:
            return _hanging_task(kernel, call)
        elif failure.how is How.REFUSED:
            return _refused(failure, is_soap=is_soap)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    return fail


async def _soap_method(request: web.Request) -> str:
    found = _METHOD.search(await SoapBody.of(request).start())
    return found[1].decode() if found else ""


def _route(request: web.Request) -> str:
    return f"{request.method} /{request.path.split('/')[1]}"


def _refused(failure: Failure, *, is_soap: bool) -> web.Response:
    if not is_soap:
        return web.Response(status=failure.status, text=_REASON)
    body = fault_response(_fault_of(failure), WIRE_VERSION)
    return web.Response(status=500, body=body, content_type="text/xml")


def _fault_of(failure: Failure) -> vmodl.MethodFault:
    return failure.fault or vmodl.fault.SystemError(reason=_REASON, msg=_REASON)


def _failing_task(kernel: Kernel, method: str, fault: vmodl.MethodFault) -> web.Response:
    async def run(_: TaskRun) -> None:
        raise fault

    return _with_task(kernel, method, f"failing.{method}", run)


def _hanging_task(kernel: Kernel, method: str) -> web.Response:
    async def run(task: TaskRun) -> None:
        while True:
            task.check_cancelled()
            await asyncio.sleep(_LOOK_S)

    return _with_task(kernel, method, f"hanging.{method}", run)


def _with_task(
    kernel: Kernel, method: str, description_id: str, run: Callable[[TaskRun], Awaitable[None]]
) -> web.Response:
    service = kernel.registry.get(vim.ServiceInstance("ServiceInstance"))
    task = start_task(service, description_id, run)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
        f'<{method}Response xmlns="urn:vim25"><returnval type="Task">{task._GetMoId()}</returnval>'
        f"</{method}Response></soapenv:Body></soapenv:Envelope>"
    )
    return web.Response(text=body, content_type="text/xml")


async def _task_ended(kernel: Kernel, answer: web.StreamResponse) -> None:
    body = answer.body if isinstance(answer, web.Response) else None
    found = _TASK.search(body) if isinstance(body, bytes) else None
    if found is None:
        return
    task = kernel.registry.get(vim.Task(found[1].decode()))
    while task.properties["info"].state in {"queued", "running"}:
        await asyncio.sleep(_LOOK_S)
