"""Sessions: who is logged in, and who asks right now."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference


@dataclass(eq=False)
class Session:
    """One logged-in client."""

    user: str
    address: str = ""
    user_agent: str = ""
    locale: str = "en"
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Names the session to everybody; not secret."""
    token: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    """The cookie's value: whoever has it is the client."""
    login_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    last_active: datetime = field(default_factory=lambda: datetime.now(UTC))
    calls: int = 0
    calls_now: int = 0
    """Requests under way; a session is not idle while one waits for updates."""
    holdings: dict[object, Callable[[], None]] = field(default_factory=dict, repr=False)
    """What the session owns, each with what lets go of it when the session ends."""


@dataclass
class Exchange:
    """The request that is being answered."""

    address: str
    user_agent: str
    session: Session | None
    """Login sets it and Logout takes it away; the HTTP side then changes the cookie."""
    is_connected: Callable[[], bool] = lambda: True
    """Whether the client still waits for the answer."""


current_session: ContextVar[Session] = ContextVar("current_session")
"""The session whose request runs now; tasks inherit it from the request that started them."""
current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")


def not_authenticated(ref: Reference) -> vmodl.MethodFault:
    """The fault for asking `ref` anything without a session."""
    return vim.fault.NotAuthenticated(object=ref, privilegeId="System.View")
