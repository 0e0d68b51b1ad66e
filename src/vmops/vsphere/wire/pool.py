"""HTTPS connections to one server, kept open and shared between threads.

A connection belongs to one thread at a time. One on which anything went wrong, Ctrl-C included, is
closed and never used again: what still arrives on it is the answer to somebody else's question.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from vmops.errors import ConnectionLost
from vmops.vsphere.wire.address import ServerAddress
from vmops.vsphere.wire.answers import whole
from vmops.vsphere.wire.limits import Limits
from vmops.vsphere.wire.reaching import reach
from vmops.vsphere.wire.silence import (
    AnswerWait,
    GaveUp,
    Patience,
    Reader,
    TransferWait,
    answer,
    send_all,
)
from vmops.vsphere.wire.trust import Trust

# Servers close idle connections after a minute or more. One that we drop before cannot be closed
# by the server just while a call is on its way, which would leave open whether it was executed.
MAX_IDLE_S = 30.0
# A peer that has vanished is found out on a connection that is idle, or waits for changes: after
# 10 s without a byte it is probed every 3 s, and three probes without an answer end the connection.
KEEP_ALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3))


class HttpsConnection(http.client.HTTPSConnection):
    """A connection whose certificate is checked before anything is sent.

    ``patience`` and ``wait`` are those of who has borrowed it.
    """

    def __init__(
        self, address: ServerAddress, trust: Trust, context: ssl.SSLContext, limits: Limits
    ) -> None:
        super().__init__(address.host, address.port, context=context)
        self._trust = trust
        self._tls = context
        self.limits = limits
        self.patience = Patience(answer_s=limits.answer_s)
        self.wait = AnswerWait(self.patience)
        self.connecting_s = 0.0
        """How long it may take to connect."""
        self.idle_since = 0.0

    def begin_wait(self, patience: Patience) -> None:
        """From here on runs the time that an answer may take."""
        self.patience = patience
        self.wait = AnswerWait(patience)

    def connect(self) -> None:
        """Connect and check the certificate.

        Raises:
            CertificateRefused: it is not trusted, or not the pinned one.
            OSError: the server cannot be reached.
        """
        self.connecting_s = self.wait.within_s(self.limits.handshake_s)
        end = time.monotonic() + self.connecting_s
        plain = reach(self.host, self.port, end)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEP_ALIVE:
                if option := getattr(socket, name, None):
                    plain.setsockopt(socket.IPPROTO_TCP, option, value)
            plain.settimeout(max(end - time.monotonic(), 0.001))
            sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise self._trust.refusal(self.host, self.port, error) from error
        except BaseException:
            plain.close()
            raise
        try:
            self._trust.check(sock.getpeercert(binary_form=True), self.host)
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def post(
        self, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Post a small body, and return the answer with its body; see `answers.whole`."""
        with self.ask("POST", target, {**headers, "Content-Length": str(len(body))}, body) as found:
            content = whole(found)
        if found.will_close:
            self.close()
        return found, content

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> http.client.HTTPResponse:
        """Send a request with its small body, and return the answer, whose body is to be read.

        Head and body leave in one write, which halves what TLS costs; `request` makes two.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        send_all(self.sock, "\r\n".join([*lines, "", ""]).encode("latin-1") + body, self.wait)
        return answer(Reader(self.sock, self.wait), method)

    def begin_transfer(self, response: http.client.HTTPResponse) -> None:
        """The head has come: what follows may take its time, as long as it moves."""
        reader = getattr(response.fp, "raw", None)
        if isinstance(reader, Reader):
            reader.wait = TransferWait(self.patience, self.limits)

    def is_stale(self) -> bool:
        """Whether the server has closed it, or it has been idle for long."""
        if self.sock is None or time.monotonic() - self.idle_since > MAX_IDLE_S:
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        # Between calls a server has nothing to say: whatever can be read is its good-bye.
        return bool(poll.poll(0))

    def interrupt(self) -> None:
        """End a call that another thread is making on this connection."""
        if self.sock is not None:
            with suppress(OSError):
                # Not SSLSocket.shutdown: that takes the TLS state from under the other thread.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class ConnectionPool:
    """The connections to one server."""

    def __init__(self, address: ServerAddress, trust: Trust, limits: Limits) -> None:
        self.address = address
        self.trust = trust
        self.limits = limits
        self._context = trust.context()
        self._lock = threading.Lock()
        self._idle: list[HttpsConnection] = []
        self._in_use: set[HttpsConnection] = set()
        self._closed = False

    @contextmanager
    def borrow(self, patience: Patience | None = None) -> Iterator[HttpsConnection]:
        """A connection for one request and its answer, which must be read to its end.

        ``patience`` None waits for the answer as long as `Limits` says, and asks nobody meanwhile.

        Raises:
            ConnectionLost: the server cannot be reached, went away, or was silent too long.
            CertificateRefused: see `Trust`.
        """
        connection = self._take(patience or Patience(answer_s=self.limits.answer_s))
        clean = False
        try:
            yield connection
            clean = True
        except GaveUp as error:
            # Those that wait beside it may have died with it.
            self._drop_idle()
            raise ConnectionLost(f"{self.address.netloc} {error}.") from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(
                f"The connection to {self.address.netloc} was lost: {error or type(error).__name__}"
            ) from error
        finally:
            self._give_back(connection, clean=clean)

    def close(self) -> None:
        """Close all connections; a call that still runs on one ends with ConnectionLost."""
        with self._lock:
            self._closed = True
            in_use = list(self._in_use)
        self._drop_idle()
        for connection in in_use:
            connection.interrupt()

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self, patience: Patience) -> HttpsConnection:
        stale: list[HttpsConnection] = []
        found = None
        with self._lock:
            if self._closed:
                raise ConnectionLost("The session is closed.")
            while self._idle and found is None and not patience.fresh:
                candidate = self._idle.pop()
                if candidate.is_stale():
                    stale.append(candidate)
                else:
                    found = candidate
                    self._in_use.add(found)
        for connection in stale:
            connection.close()
        if found is None:
            return self._connect(patience)
        found.begin_wait(patience)
        return found

    def _connect(self, patience: Patience) -> HttpsConnection:
        connection = HttpsConnection(self.address, self.trust, self._context, self.limits)
        connection.begin_wait(patience)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            is_late = isinstance(error, TimeoutError)
            limit = f"no connection within {connection.connecting_s:.3g} seconds"
            why = limit if is_late else str(error)
            raise ConnectionLost(f"Cannot reach {self.address.netloc}: {why}") from error
        with self._lock:
            if not self._closed:
                self._in_use.add(connection)
                return connection
        connection.close()
        raise ConnectionLost("The session is closed.")

    def _give_back(self, connection: HttpsConnection, *, clean: bool) -> None:
        connection.idle_since = time.monotonic()
        with self._lock:
            self._in_use.discard(connection)
            keep = clean and connection.sock is not None and not self._closed
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
