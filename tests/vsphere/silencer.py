"""Stands between a client and an endpoint, and goes silent: a hole, a trickle, a deaf ear.

From a call on, or in the middle of its bytes, nothing is passed any more and nothing is closed:
what a client sends is taken and dropped ("hole"), is not even taken ("deaf"), or gets its answer
so many bytes a second ("trickle").
"""

from __future__ import annotations

import re
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
    def __init__(self, owner: Silencer, client: ssl.SSLSocket, upstream: ssl.SSLSocket) -> None:
        self.owner, self.client, self.upstream = owner, client, upstream
        self.silent: Way | None = None
        self.down_until: int | None = None
        """After so many bytes of the answer it goes silent."""
        self.rule: Rule | None = None
        self.is_mute = False
        owner.keep(client)
        owner.keep(upstream)

    @property
    def way(self) -> Way | None:
        return self.silent or self.owner.silent

    def run(self) -> None:
        self.owner.start(self._down)
        try:
            while self._request():
                pass
        except (OSError, ValueError):
            pass
        finally:
            for sock in (self.client, self.upstream):
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                self.owner.drop(sock)

    def _hush(self, rule: Rule) -> None:
        self.owner.silent_at = time.monotonic()
        if rule.way == "killed":
            self.owner.refuse()
        elif rule.scope == "all":
            self.owner.silent = rule.way
        else:
            self.silent = rule.way

    def _request(self) -> bool:
        """Pass one request on; whether there may be another."""
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := self._receive()):
                return False
            head += piece
        end = head.index(b"\r\n\r\n") + 4
        length = _LENGTH.search(head[:end])
        left = (int(length[1]) if length else 0) - (len(head) - end)
        verb, target, _ = head[: head.index(b"\r\n")].decode().split(" ")
        is_soap = target.startswith(("/sdk", "/pbm"))
        while is_soap and left > 0:
            piece = self._receive()
            head += piece
            left -= len(piece)
        found = _METHOD.search(head)
        call = found[1].decode() if is_soap and found else f"{verb} /{target.split('/')[1]}"
        rule = self.owner.rule_for(call)
        if rule is not None:
            self._obey(rule)
        self._pass(head)
        if rule is not None and rule.where == "answer":
            self._hush(rule)
        passed = 0
        while left > 0:
            if rule is not None and rule.where == "upload" and passed > _MIDDLE:
                self._hush(rule)
            piece = self._receive()
            if not piece:
                return False
            self._pass(piece)
            left -= len(piece)
            passed += len(piece)
        return True

    def _obey(self, rule: Rule) -> None:
        if rule.where == "request":
            self._hush(rule)
        elif rule.where == "answer":
            self.is_mute = True
        elif rule.where == "download":
            self.rule, self.down_until = rule, _MIDDLE

    def _receive(self) -> bytes:
        while self.way == "deaf" and not self.owner.stopped.wait(0.05):
            pass
        return self.client.recv(65536)

    def _pass(self, data: bytes) -> None:
        if self.way in {None, "trickle"}:
            self.upstream.sendall(data)

    def _down(self) -> None:
        with suppress(OSError, ValueError):
            while data := self.upstream.recv(65536):
                self._answer(data)

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
