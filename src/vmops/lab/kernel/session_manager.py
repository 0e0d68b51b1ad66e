"""Sessions: who is logged in, and the ticket that opens one request."""

from __future__ import annotations

import secrets
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(eq=False)
class Session:
    """One logged-in client."""

    user: str
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Names the session to everybody; not secret."""
    token: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    """The cookie's value: whoever has it is the client."""
    login_time: datetime = field(default_factory=lambda: datetime.now(UTC))


current_session: ContextVar[Session] = ContextVar("current_session")
"""The session whose request runs now; tasks inherit it from the request that started them."""
