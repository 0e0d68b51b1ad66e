"""Stands between a client and an endpoint, and goes silent: a hole, a trickle, a deaf ear.

From a call on, or in the middle of its bytes, nothing is passed any more and nothing is closed:
what a client sends is taken and dropped ("hole"), is not even taken ("deaf"), or gets its answer
so many bytes a second ("trickle").
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from tests.vsphere.interposer import make_certificate

Way = Literal["hole", "deaf", "trickle", "killed"]
Where = Literal["request", "answer", "upload", "download"]
Scope = Literal["all", "connection"]

_METHOD = re.compile(rb"<(?:[^<>]*:)?Body[^>]*>\s*<(?:\w+:)?(\w+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_MIDDLE = 300_000
"""So many bytes of a body have passed when it is in the middle."""


@dataclass
class Rule:
    call: str
    nth: int
    """Which of these calls; 0 is each of them."""
    way: Way
    where: Where
    scope: Scope


class Silencer:
    def __init__(self, upstream: str, folder: Path) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 443)
        # The URLs of leases lead here, too.
        self.theirs = f"https://{parts.netloc}/nfc/".encode()
        self.ca_file, key_file = make_certificate(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca_file, key_file)
        self._rule: Rule | None = None
        self.calls: Counter[str] = Counter()
        self.silent: Way | None = None
        """What has become of every connection."""
        self.silent_at = 0.0
        self.byte_s = 1.0
        """How long a byte of an answer takes that trickles."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.start(self._accept)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/sdk"

    @property
    def ours(self) -> bytes:
        found = f"https://127.0.0.1:{self.port}/nfc/".encode()
        assert len(found) == len(self.theirs), "answers keep their length"
        return found

    def silence(
        self,
        call: str,
        nth: int = 1,
        *,
        way: Way = "hole",
        where: Where = "request",
        scope: Scope = "all",
    ) -> None:
        """Go silent at the nth such call from now on, a SOAP method or "PUT /folder"."""
        with self._lock:
            self.calls.clear()
            self._rule = Rule(call, nth, way, where, scope)

    def silence_all(self, way: Way = "hole") -> None:
        """Go silent now."""
        self.silent_at = time.monotonic()
        self.silent = way

    def refuse(self) -> None:
        """Be gone, as a server that was killed: nobody listens, and every connection is cut."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection that is open now."""
        with self._lock:
            open_now = list(self._open)
        for sock in open_now:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def speak(self) -> None:
        """Let all pass again; connections that were silent are closed."""
        with self._lock:
            self._rule = None
        self.cut()
        self.silent = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.refuse()
        for thread in self._threads:
            thread.join(5)

    def start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def keep(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)

    def drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)
        sock.close()

    def rule_for(self, call: str) -> Rule | None:
        """Count the call; the rule, if it is the one that this goes silent at."""
        with self._lock:
            self.calls[call] += 1
            rule = self._rule
            if rule is None or rule.call != call or rule.nth not in {0, self.calls[call]}:
                return None
            return rule

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.start(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        self.keep(plain)
        while self.silent in {"hole", "deaf"} and not self.stopped.wait(0.05):
            pass  # The connection is there, and nothing is said on it.
        self.keep(plain)
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except (OSError, ValueError):
            self.drop(plain)
            return
        with suppress(OSError):
            _Connection(self, client, self._connect_upstream()).run()

    def _connect_upstream(self) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(self._upstream))


class _Connection:
    """One client's connection, on one thread: TLS takes no two at a time."""

    def __init__(self, owner: Silencer, client: ssl.SSLSocket, upstream: ssl.SSLSocket) -> None:
        self.owner, self.client, self.upstream = owner, client, upstream
        self.silent: Way | None = None
        self.down_until: int | None = None
        """After so many bytes of the answer it goes silent."""
        self.rule: Rule | None = None
        self.is_mute = False
        self.head = b""
        self.left = 0
        """Of the body of the request that is passed on."""
        self.passed = 0
        owner.keep(client)
        owner.keep(upstream)

    @property
    def way(self) -> Way | None:
        return self.silent or self.owner.silent

    def run(self) -> None:
        try:
            while self._step():
                pass
        except (OSError, ValueError):
            pass
        finally:
            for sock in (self.client, self.upstream):
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                self.owner.drop(sock)

    def _step(self) -> bool:
        """Pass on what has come; whether there may be more."""
        heard = [self.upstream] if self.way == "deaf" else [self.client, self.upstream]
        ready = [sock for sock in heard if sock.pending()]
        ready = ready or select.select(heard, [], [], 0.05)[0]
        for sock in ready:
            # A message of TLS's own can be read, too, and gives nothing.
            sock.settimeout(0.01)
            try:
                data = sock.recv(65536)
            except TimeoutError:
                continue
            finally:
                sock.settimeout(None)
            if not data:
                return False
            if sock is self.client:
                self._ask(data)
            else:
                self._answer(data)
        return not self.owner.stopped.is_set()

    def _hush(self, rule: Rule) -> None:
        self.owner.silent_at = time.monotonic()
        if rule.way == "killed":
            self.owner.refuse()
        elif rule.scope == "all":
            self.owner.silent = rule.way
        else:
            self.silent = rule.way

    def _ask(self, data: bytes) -> None:
        """Pass on a part of a request."""
        if self.left <= 0:
            self.head += data
            if (parsed := self._parsed()) is None:
                return
            data, self.head = self.head, b""
            call, self.left = parsed
            self.passed = 0
            self.rule = self.owner.rule_for(call)
            if self.rule is not None:
                self._obey(self.rule)
            self._pass(data)
            if self.rule is not None and self.rule.where == "answer":
                self._hush(self.rule)
            return
        self._pass(data)
        self.left -= len(data)
        self.passed += len(data)
        if self.rule is not None and self.rule.where == "upload" and self.passed > _MIDDLE:
            self._hush(self.rule)

    def _parsed(self) -> tuple[str, int] | None:
        """What is called, and how much of the body is to come; None if it is not known yet."""
        if b"\r\n\r\n" not in self.head:
            return None
        end = self.head.index(b"\r\n\r\n") + 4
        length = _LENGTH.search(self.head[:end])
        left = (int(length[1]) if length else 0) - (len(self.head) - end)
        verb, target, _ = self.head[: self.head.index(b"\r\n")].decode().split(" ")
        if not target.startswith(("/sdk", "/pbm")):
            return f"{verb} /{target.split('/')[1]}", left
        if left > 0:
            return None
        found = _METHOD.search(self.head)
        return (found[1].decode() if found else verb), 0

    def _obey(self, rule: Rule) -> None:
        if rule.where == "request":
            self._hush(rule)
        elif rule.where == "answer":
            self.is_mute = True
        elif rule.where == "download":
            self.down_until = _MIDDLE

    def _pass(self, data: bytes) -> None:
        if self.way in {None, "trickle"}:
            self.upstream.sendall(data)

    def _answer(self, data: bytes) -> None:
        if self.down_until is not None:
            self.down_until -= len(data)
            if self.down_until <= 0 and self.rule is not None:
                self.down_until = None
                self._hush(self.rule)
        if self.is_mute:
            return
        data = data.replace(self.owner.theirs, self.owner.ours)
        if self.way == "trickle":
            for n in range(len(data)):
                self.client.sendall(data[n : n + 1])
                if self.owner.stopped.wait(self.owner.byte_s):
                    return
        elif self.way is None:
            self.client.sendall(data)
