"""The door to the server: every SOAP call goes through `Client.call`.

It logs in and out, adds the operation's id, applies the retry table, translates faults, and writes
one DEBUG line per call with its milliseconds. Safe for any number of threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim, vmodl

from vmops import errors
from vmops.context import current
from vmops.errors import VMOpsError
from vmops.vsphere.wire import faults, retry
from vmops.vsphere.wire.coherence import OwnWrites
from vmops.vsphere.wire.moref import Moref, describe
from vmops.vsphere.wire.policy_stub import PolicyStub
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.secret import Secret
from vmops.vsphere.wire.stub import SoapFault, Stub, wire_method

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

log = logging.getLogger(__name__)

LOGOUT_TIMEOUT_S = 5.0


class Client:
    """A logged-in session's calls."""

    def __init__(
        self,
        pool: ConnectionPool,
        path: str,
        username: str,
        password: Secret,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.pool = pool
        self.username = username
        self._password = password
        self._stub = Stub(pool, path)
        self._policy_stub = PolicyStub(pool, self._stub)
        self._clock = clock
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._login_lock = threading.Lock()
        self._logins = 0
        self._outage = retry.Outage(clock)
        self._count_lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.own_writes = OwnWrites(lambda: self.counts["WaitForUpdatesEx"])
        self.content: Any = None

    def __repr__(self) -> str:
        return f"<Client of {self.pool.address.url} as {self.username}>"

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    @property
    def cookie(self) -> str:
        """The session's cookie, for the datastores' HTTP access. A secret."""
        return self._stub.cookie

    @property
    def logins(self) -> int:
        """How many logins there were; it changes when the server's session is a new one."""
        return self._logins

    def open(self) -> None:
        """Read what the endpoint is and log in.

        Raises:
            InvalidLogin, CertificateRefused, ConnectionLost, Unavailable: see `connect`.
        """
        with self._login_lock:
            self._login()

    def call(self, moref: Moref, method: str, /, **arguments: object) -> Any:
        """Call a method by its name on the wire ("PowerOnVM_Task") and return its result.

        Raises:
            ConnectionLost: no answer came. A read was repeated for some seconds; a write was not,
                and may or may not have taken effect.
            NotAuthenticated: the session ended and a new login did not help.
            VMOpsError: the server's fault, translated.
        """
        return self.call_within(moref, method, None, **arguments)

    def call_within(
        self, moref: Moref, method: str, timeout_s: float | None, /, **arguments: object
    ) -> Any:
        """`call` with a time limit of its own for the answer, in seconds."""
        with self.own_writes.changing(moref, method):
            return self._call(moref, method, timeout_s, arguments)

    def _call(
        self, moref: Moref, method: str, timeout_s: float | None, arguments: dict[str, object]
    ) -> Any:
        info = wire_method(type(moref), method)
        ordered = ordered_arguments(info, arguments)
        delays = retry.delays()
        logged_in_again = False
        while True:
            logins = self._logins
            try:
                result = self._invoke(moref, info, ordered, timeout_s)
            except VMOpsError as error:
                if isinstance(error, errors.ConnectionLost):
                    self._outage.note_loss()
                else:
                    self._outage.note_answer()
                action = retry.action_for(error, method)
                if self._closed.is_set() or action is retry.RetryAction.RAISE:
                    raise
                if action is retry.RetryAction.LOGIN_AGAIN:
                    if logged_in_again:
                        raise
                    logged_in_again = True
                    self.login_again(logins)
                    continue
                delay = next(delays, None)
                if delay is None or self._outage.outlasts(delay):
                    raise
                log.warning("%s %s: %s; trying again", method, describe(moref), error)
                self._sleep(delay)
            else:
                self._outage.note_answer()
                return result

    def login_again(self, seen: int) -> None:
        """Log in unless another thread did since ``logins`` was ``seen``.

        Raises:
            InvalidLogin, ConnectionLost, Unavailable: as `open`.
        """
        with self._login_lock:
            if self._logins != seen:
                return
            if self._closed.is_set():
                raise errors.NotAuthenticated("The session is closed.")
            log.warning("The session at %s ended; logging in again", self.pool.address.netloc)
            self._login()

    def close(self) -> None:
        """Log out and close the connections. Never raises; may be called twice."""
        with self._login_lock:
            if self._closed.is_set():
                return
            self._closed.set()
            logged_in = bool(self._stub.cookie) and self._logins > 0
        try:
            if logged_in:
                manager = self.content.sessionManager
                self._invoke(
                    manager, wire_method(vim.SessionManager, "Logout"), [], LOGOUT_TIMEOUT_S
                )
        except VMOpsError as error:
            log.debug("Logout: %s", error)
        finally:
            self.pool.close()
            self._stub.cookie = ""

    def _login(self) -> None:
        self._stub.cookie = ""
        root = vim.ServiceInstance("ServiceInstance")
        retrieve = wire_method(vim.ServiceInstance, "RetrieveServiceContent")
        content = self._invoke(root, retrieve, [], None, takes_cookie=True)
        self._stub.speak(content.about.apiVersion)
        login = wire_method(vim.SessionManager, "Login")
        failure: BaseException | None = None
        try:
            self._invoke(
                content.sessionManager,
                login,
                ordered_arguments(
                    login, {"userName": self.username, "password": self._password.reveal()}
                ),
                None,
                takes_cookie=True,
            )
        except BaseException as error:  # noqa: BLE001 - raised below, Ctrl-C included
            failure = error
        if failure is not None:
            # The frames and causes of the failure hold the password: they end here.
            failure.__cause__ = failure.__context__ = None
            raise failure.with_traceback(None)
        self.content = content
        self._logins += 1

    def _stub_for(self, moref: Moref) -> Stub:
        is_of_policies = type(moref)._wsdlName.startswith("Pbm")
        return self._policy_stub if is_of_policies else self._stub

    def _invoke(
        self,
        moref: Moref,
        info: MethodInfo,
        arguments: list[object],
        timeout_s: float | None,
        *,
        takes_cookie: bool = False,
    ) -> Any:
        method = info.wsdlName
        operation_id = current().operation_id
        begin = self._clock()
        failure: VMOpsError | None = None
        cause: BaseException | None = None
        with self._count_lock:
            self.counts[method] += 1
        try:
            result = self._stub_for(moref).invoke(
                moref,
                info,
                arguments,
                operation_id=operation_id,
                timeout_s=timeout_s,
                takes_cookie=takes_cookie,
            )
            if method == "RetrievePropertiesEx":
                refusal = _refusal_inside(result)
                failure = faults.translate(refusal, method=method) if refusal else None
        except SoapFault as error:
            failure, cause = faults.translate(error.fault, method=method), error
        except VMOpsError as error:
            failure, cause = error, error.__cause__
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s %s %.1f ms%s%s",
                describe(moref),
                method,
                (self._clock() - begin) * 1000,
                f" [{operation_id}]" if operation_id else "",
                f" -> {type(failure).__name__}" if failure else "",
            )
        if failure is not None:
            raise failure from cause
        return result


def _refusal_inside(
    result: vmodl.query.PropertyCollector.RetrieveResult | None,
) -> vmodl.MethodFault | None:
    """NotAuthenticated as some servers tell it: not as a fault, but for each property."""
    for found in (result.objects if result else [])[:1]:
        for missing in found.missingSet or []:
            fault: vmodl.MethodFault = missing.fault
            if faults.fault_name(fault) == "NotAuthenticated":
                return fault
    return None


def ordered_arguments(info: MethodInfo, arguments: dict[str, object]) -> list[object]:
    """The arguments in the order of the wire.

    Raises:
        TypeError: one is unknown, missing or of the wrong type; that is a mistake of the program.
    """
    left = dict(arguments)
    ordered = [left.pop(param.name, None) for param in info.params]
    if left:
        raise TypeError(f"{info.wsdlName} has no argument {', '.join(left)}")
    for param, value in zip(info.params, ordered, strict=True):
        VmomiSupport.CheckField(param, value)
    return ordered
