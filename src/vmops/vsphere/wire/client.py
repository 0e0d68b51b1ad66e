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
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim, vmodl

from vmops import errors, in_flight
from vmops.context import Troubles, current, stop_if_asked
from vmops.errors import VMOpsError
from vmops.vsphere.wire import faults, retry
from vmops.vsphere.wire.answers import unreadable
from vmops.vsphere.wire.coherence import OwnWrites, is_read, needs_lease
from vmops.vsphere.wire.moref import Moref, describe
from vmops.vsphere.wire.policy_stub import PolicyStub
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.secret import Secret
from vmops.vsphere.wire.silence import Patience
from vmops.vsphere.wire.stub import SoapFault, Stub, wire_method
from vmops.vsphere.wire.vigil import Vigil

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

log = logging.getLogger(__name__)

_NEEDED = ("about", "rootFolder", "sessionManager", "propertyCollector")
LOGOUT_TIMEOUT_S = 5.0
# A session that cannot be logged out ends by itself.
_LOGOUT_OF_THE_LOST_S = 0.5
# The time on the server has passed when the answer is there: a limit for that means nothing.
_POLL = "WaitForUpdatesEx"


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
        self.limits = pool.limits
        self.vigil = Vigil(pool.address.netloc, pool.limits, clock)
        self.vigil.probe = self._lives
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
        """`call` with a time limit of its own for the answer, in seconds.

        Raises:
            LeaseLost: it would change what another one has taken from the operation meanwhile, or
                that one has removed what the call is about.
        """
        if needs_lease(moref, method):
            in_flight.check()
            stop_if_asked()
        try:
            with self.own_writes.changing(moref, method):
                return self._call(moref, method, timeout_s, arguments)
        except errors.ManagedObjectNotFound:
            in_flight.check()
            raise

    def _call(
        self, moref: Moref, method: str, timeout_s: float | None, arguments: dict[str, object]
    ) -> Any:
        info = wire_method(type(moref), method)
        ordered = ordered_arguments(info, arguments)
        delays = retry.delays(self.limits.window_s)
        troubles = current().troubles or Troubles()
        logged_in_again = False
        patience = self._patience(method, timeout_s)
        while True:
            self.vigil.admit(method)
            logins, begin = self._logins, self._clock()
            try:
                return self._invoke(moref, info, ordered, patience)
            except VMOpsError as error:
                spent_s = 0.0
                if isinstance(error, errors.ConnectionLost):
                    spent_s = troubles.add(self._clock() - begin)
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
                if (
                    delay is None
                    or self.vigil.outlasts(delay)
                    or spent_s + delay > self.limits.window_s
                ):
                    raise
                log.warning("%s %s: %s; trying again", method, describe(moref), error)
                self._sleep(delay)
                if spent_s:
                    troubles.add(delay)
                # Once: what is slow everywhere is not made faster by asking once more.
                patience = replace(patience, another_s=float("inf"))

    def patience_for(self, *, is_change: bool) -> Patience:
        """How long to wait for an exchange with the server that is none of SOAP."""
        limits = self.limits
        silence_s = limits.change_silence_s if is_change else limits.read_silence_s
        return Patience(answer_s=limits.answer_s, silence_s=silence_s, lives=self.vigil)

    def _patience(self, method: str, timeout_s: float | None) -> Patience:
        answer_s = timeout_s or self.limits.answer_s
        if method == _POLL:
            return Patience(answer_s=answer_s)
        patience = self.patience_for(is_change=not retry.leaves_nothing(method))
        if is_read(method):
            patience = replace(patience, another_s=self.limits.another_s)
        return replace(patience, answer_s=answer_s)

    def _lives(self, limit_s: float) -> bool:
        """Whether the server answers anything, over a connection of its own."""
        root = vim.ServiceInstance("ServiceInstance")
        time_of_day = wire_method(vim.ServiceInstance, "CurrentTime")
        patience = Patience(answer_s=limit_s, fresh=True)
        try:
            self._stub.invoke(root, time_of_day, [], patience=patience)
        except errors.ConnectionLost as error:
            log.debug("%s does not answer: %s", self.pool.address.netloc, error)
            return False
        except (SoapFault, VMOpsError):
            pass  # an answer all the same
        return True

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
                limit_s = _LOGOUT_OF_THE_LOST_S if self.vigil.is_away else LOGOUT_TIMEOUT_S
                logout = wire_method(vim.SessionManager, "Logout")
                self._invoke(manager, logout, [], Patience(answer_s=limit_s))
        except VMOpsError as error:
            log.debug("Logout: %s", error)
        finally:
            self.pool.close()
            self._stub.cookie = ""

    def _login(self) -> None:
        self._stub.cookie = ""
        root = vim.ServiceInstance("ServiceInstance")
        retrieve = wire_method(vim.ServiceInstance, "RetrieveServiceContent")
        patience = self.patience_for(is_change=False)
        content = self._invoke(root, retrieve, [], patience, takes_cookie=True)
        missing = [name for name in _NEEDED if getattr(content, name, None) is None]
        if missing:
            raise unreadable(f"the server has no {', '.join(missing)}", "RetrieveServiceContent")
        self._stub.speak(str(content.about.apiVersion))
        login = wire_method(vim.SessionManager, "Login")
        failure: BaseException | None = None
        try:
            self._invoke(
                content.sessionManager,
                login,
                ordered_arguments(
                    login, {"userName": self.username, "password": self._password.reveal()}
                ),
                patience,
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
        patience: Patience,
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
                patience=patience,
                takes_cookie=takes_cookie,
            )
            if method == "RetrievePropertiesEx":
                refusal = _refusal_inside(result)
                failure = faults.translate(refusal, method=method) if refusal else None
        except SoapFault as error:
            failure, cause = faults.translate(error.fault, method=method), error
        except VMOpsError as error:
            failure, cause = error, error.__cause__
        if isinstance(failure, errors.ConnectionLost):
            # A poll is silent for a minute where nothing changes: that says nothing of the server.
            self.vigil.note_loss(self._clock() if method == _POLL else begin)
        else:
            self.vigil.note_answer()
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
