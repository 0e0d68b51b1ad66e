"""Reading requests: who calls is known before more than the start is read or any of it is built."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyVmomi import vim

from vmops.lab.kernel.sessions import Exchange, Session, not_authenticated
from vmops.lab.wire.soap import Call, parse
from vmops.lab.wire.soap_body import START_BYTES, SoapBody
from vmops.lab.wire.strict import invalid_request

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import ManagedObject as Reference

LARGE_AT_ONCE = 2
"""Large requests that are parsed at the same time, on threads."""

WITHOUT_SESSION = frozenset(
    {
        (vim.ServiceInstance, "RetrieveServiceContent"),
        (vim.ServiceInstance, "Fetch"),
        (vim.SessionManager, "Login"),
        # These are not supported, and who may not log in by them should be told so.
        (vim.SessionManager, "LoginByToken"),
        (vim.SessionManager, "LoginBySSPI"),
        (vim.SessionManager, "LoginExtensionByCertificate"),
        (vim.SessionManager, "LoginExtensionBySubjectName"),
        (vim.SessionManager, "CloneSession"),
    }
)
"""All that can be asked by who has not logged in."""


class _Seen(Exception):
    """Who calls what is known; the rest of the start need not be read."""


class Requests:
    """Reads the requests to one service."""

    def __init__(self, session_of: Callable[[dict[str, str], Exchange], Session | None]) -> None:
        self._session_of = session_of
        self._parsing = asyncio.Semaphore(LARGE_AT_ONCE)
        self._large: WeakKeyDictionary[Session, asyncio.Lock] = WeakKeyDictionary()

    async def read(
        self, body: SoapBody, version: str, exchange: Exchange
    ) -> tuple[Call, Session | None]:
        """The call, and the session it is made in.

        1. Read the start of the body. If it is all, parse it; parameters only after the check of
           step 2.
        2. Otherwise look who calls what. Without a session that is the end.
        3. Read the rest and parse it on a thread, for one large request of a session at a time.

        Raises:
            vim.fault.NotAuthenticated: the method needs a session, and there is none.
            vmodl.fault.InvalidRequest: the request is too large, too slow, or as `parse` says.
        """
        session: Session | None = None
        refused: Exception | None = None

        def admit(this: Reference, method: str, headers: dict[str, str]) -> bool:
            nonlocal session, refused
            session = self._session_of(headers, exchange)
            if session is None and (type(this), method) not in WITHOUT_SESSION:
                refused = not_authenticated(this)
            return refused is None

        def look(this: Reference, method: str, headers: dict[str, str]) -> bool:
            admit(this, method, headers)
            raise _Seen

        start = await body.start()
        with suppress(_Seen):
            call = parse(start[:START_BYTES], version, admit if body.is_whole else look)
        if refused is not None:
            raise refused
        if body.is_whole:
            return call, session
        if session is None:
            raise invalid_request(
                f"The request is larger than {START_BYTES} bytes, and needs a login"
            )
        async with self._large.setdefault(session, asyncio.Lock()):
            whole = await body.whole()
            async with self._parsing:
                return await asyncio.to_thread(parse, whole, version, _was_admitted), session


def _was_admitted(_this: Reference, _method: str, _headers: dict[str, str]) -> bool:
    # By `look`, on the loop, which sessions belong to.
    return True
