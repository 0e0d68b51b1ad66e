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
from vmops.vsphere.wire.trust import Trust

# Servers close idle connections after a minute or more. One that we drop before cannot be closed
# by the server just while a call is on its way, which would leave open whether it was executed.
MAX_IDLE_S = 30.0
CONNECT_TIMEOUT_S = 10.0


class HttpsConnection(http.client.HTTPSConnection):
    """A connection whose certificate is checked before anything is sent."""

    def __init__(
        self, address: ServerAddress, trust: Trust, context: ssl.SSLContext, timeout_s: float
    ) -> None:
        super().__init__(address.host, address.port, timeout=timeout_s, context=context)
        self._trust = trust
        self._tls = context
        self.idle_since = 0.0

    def connect(self) -> None:
        """Connect and check the certificate.

        Raises:
            CertificateRefused: it is not trusted, or not the pinned one.
            OSError: the server cannot be reached.
        """
        timeout = self.timeout
        plain = socket.create_connection(
            (self.host, self.port), timeout=min(timeout or CONNECT_TIMEOUT_S, CONNECT_TIMEOUT_S)
        )
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        sock.settimeout(timeout)
        self.sock = sock

    def post(
        self, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Post a small body, and return the answer with its body.

        Head and body leave in one write, which halves what TLS costs; `request` makes two.
        """
        lines = [f"POST {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.sock.sendall("\r\n".join(lines).encode("latin-1") + body)
        response = http.client.HTTPResponse(self.sock, method="POST")
        try:
            response.begin()
            answer = response.read()
        finally:
            response.close()
        if response.will_close:
            self.close()
        return response, answer

    def set_timeout(self, timeout_s: float) -> None:
        """How long to wait for each part of the next answer."""
        self.timeout = timeout_s
        if self.sock is not None:
            self.sock.settimeout(timeout_s)

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

    def __init__(self, address: ServerAddress, trust: Trust, *, timeout_s: float) -> None:
        self.address = address
        self.trust = trust
        self.timeout_s = timeout_s
        self._context = trust.context()
        self._lock = threading.Lock()
        self._idle: list[HttpsConnection] = []
        self._in_use: set[HttpsConnection] = set()
        self._closed = False

    @contextmanager
    def borrow(self, timeout_s: float | None = None) -> Iterator[HttpsConnection]:
        """A connection for one request and its answer, which must be read to its end.

        Raises:
            ConnectionLost: the server cannot be reached, went away, or was silent too long.
            CertificateRefused: see `Trust`.
        """
        connection = self._take(timeout_s or self.timeout_s)
        clean = False
        try:
            yield connection
            clean = True
        except TimeoutError as error:
            raise ConnectionLost(
                f"{self.address.netloc} did not answer within {connection.timeout or 0:g} seconds."
            ) from error
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
            idle, self._idle = self._idle, []
            in_use = list(self._in_use)
        for connection in idle:
            connection.close()
        for connection in in_use:
            connection.interrupt()

    def _take(self, timeout_s: float) -> HttpsConnection:
        stale: list[HttpsConnection] = []
        found = None
        with self._lock:
            if self._closed:
                raise ConnectionLost("The session is closed.")
            while self._idle and found is None:
                candidate = self._idle.pop()
                if candidate.is_stale():
                    stale.append(candidate)
                else:
                    found = candidate
                    self._in_use.add(found)
        for connection in stale:
            connection.close()
        if found is None:
            return self._connect(timeout_s)
        found.set_timeout(timeout_s)
        return found

    def _connect(self, timeout_s: float) -> HttpsConnection:
        connection = HttpsConnection(self.address, self.trust, self._context, timeout_s)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise ConnectionLost(f"Cannot reach {self.address.netloc}: {error}") from error
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
