"""The session manager: logging in and out, and the tickets that open one request."""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from pyVmomi import vim, vmodl

from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.sessions import Session, current_exchange, current_session

IDLE_TIMEOUT_S = 30 * 60.0
"""A session that asks nothing for so long ends, as in vCenter by default."""
TICKET_LIFETIME_S = 120.0
MOST_TICKETS = 1_000
"""That wait to be used; the oldest goes for one more."""


@dataclass(frozen=True)
class _Ticket:
    session: Session
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    expires: float


class SessionManager(ManagedObject):
    """Logs in the lab's one account."""

    wire_type = vim.SessionManager

    def __init__(
        self, kernel: Kernel, moid: str, password: str, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        super().__init__(kernel, moid)
        self._user = kernel.settings.user_name
        self._password = password
        self._idle_timeout_s = idle_timeout_s
        self._sessions: dict[str, Session] = {}
        self._tickets: dict[str, _Ticket] = {}
        self.properties |= {
            "defaultLocale": "en_US",
            "messageLocaleList": ["en_US"],
            "supportedLocaleList": ["en_US"],
        }
        self.computed |= {"sessionList": self._list, "currentSession": self._current}

    def by_token(self, token: str) -> Session | None:
        """The live session with this cookie; None if there is none or it idled too long."""
        session = self._sessions.get(token)
        if session is None:
            return None
        idle = (datetime.now(UTC) - session.last_active).total_seconds()
        if session.calls_now == 0 and idle > self._idle_timeout_s:
            self.end(session)
            return None
        return session

    def expire(self) -> None:
        """End the sessions that have idled too long, and forget what tickets nobody used."""
        for token in list(self._sessions):
            self.by_token(token)
        now = time.monotonic()
        self._tickets = {each: got for each, got in self._tickets.items() if got.expires >= now}

    def by_password(self, user: str, password: str) -> Session | None:
        """A session for one HTTP request with Basic authentication; it is not listed."""
        return Session(self._user) if self._is_account(user, password) else None

    def by_ticket(self, ticket_id: str, method: str, path: str, query: str) -> Session | None:
        """The session whose ticket this is, if it was made for exactly this request.

        The ticket is used up, whether it fits or not.
        """
        ticket = self._tickets.pop(ticket_id, None)
        if ticket is None or ticket.expires < time.monotonic():
            return None
        asked = (method, path, _pairs(query))
        if asked != (ticket.method, ticket.path, ticket.query):
            return None
        return self.by_token(ticket.session.token)

    def end_all(self) -> None:
        """End every session: whoever waits for updates gets an answer."""
        for session in list(self._sessions.values()):
            self.end(session)

    def end(self, session: Session) -> None:
        """End a session and all it owns."""
        self._sessions.pop(session.token, None)
        for let_go in list(session.holdings.values()):
            let_go()
        session.holdings.clear()

    def Login(self, userName: str, password: str, locale: str | None = None) -> vim.UserSession:
        """Open a session for the exchange that asks."""
        exchange = current_exchange.get()
        if exchange.session is not None or not self._is_account(userName, password):
            raise vim.fault.InvalidLogin()
        self.expire()
        session = Session(
            self._user, exchange.address, exchange.user_agent, (locale or "en").replace("-", "_")
        )
        self._sessions[session.token] = session
        exchange.session = session
        return _user_session(session)

    def Logout(self) -> None:
        """End the session that asks."""
        session = current_session.get()
        # An open console is its viewer's by now: who leaves does not take it back.
        for held in [each for each in session.holdings if isinstance(each, asyncio.Event)]:
            del session.holdings[held]
        self.end(session)
        current_exchange.get().session = None

    def SessionIsActive(self, sessionID: str, userName: str) -> bool:
        """Whether a session of this key and user is live."""
        session = self._by_key(sessionID)
        return session is not None and session.user.lower() == userName.lower()

    def TerminateSession(self, sessionId: list[str] | None) -> None:
        """End other sessions by key; none is ended if one is not there."""
        sessions = []
        for key in sessionId or []:
            session = self._by_key(key)
            if session is None:
                raise vim.fault.NotFound(msg=f"There is no session {key}")
            if session is current_session.get():
                raise vmodl.fault.InvalidArgument(invalidProperty="sessionId")
            sessions.append(session)
        for session in sessions:
            self.end(session)

    def SetLocale(self, locale: str) -> None:
        """Take note of the client's language; the lab speaks English."""
        current_session.get().locale = locale

    def AcquireGenericServiceTicket(
        self, spec: vim.SessionManager.ServiceRequestSpec
    ) -> vim.SessionManager.GenericServiceTicket:
        """A ticket for one HTTP request that needs no other authentication."""
        if not isinstance(spec, vim.SessionManager.HttpServiceRequestSpec):
            raise vmodl.fault.InvalidArgument(invalidProperty="spec")
        self.expire()
        while len(self._tickets) >= MOST_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        url = urlsplit(spec.url)
        method = (spec.method or "httpGet").removeprefix("http").upper()
        ticket_id = str(uuid.uuid4())
        self._tickets[ticket_id] = _Ticket(
            current_session.get(),
            method,
            unquote(url.path),
            _pairs(url.query),
            time.monotonic() + TICKET_LIFETIME_S,
        )
        return vim.SessionManager.GenericServiceTicket(id=ticket_id, hostName=url.hostname)

    def _is_account(self, user: str, password: str) -> bool:
        same = hmac.compare_digest(password.encode(), self._password.encode())
        return same and user.lower() == self._user.lower()

    def _by_key(self, key: str) -> Session | None:
        for session in list(self._sessions.values()):
            if session.key == key:
                return self.by_token(session.token)
        return None

    def _list(self) -> list[vim.UserSession]:
        return [_user_session(session) for session in self._sessions.values()]

    def _current(self) -> vim.UserSession | None:
        session = current_session.get(None)
        return None if session is None else _user_session(session)


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(parse_qsl(query, keep_blank_values=True)))


def _user_session(session: Session) -> vim.UserSession:
    return vim.UserSession(
        key=session.key,
        userName=session.user,
        fullName=session.user,
        loginTime=session.login_time,
        lastActiveTime=session.last_active,
        locale=session.locale,
        messageLocale="en",
        extensionSession=False,
        ipAddress=session.address,
        userAgent=session.user_agent,
        callCount=session.calls,
    )
