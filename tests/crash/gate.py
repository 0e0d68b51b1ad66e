"""Stands between a client and the lab, names and counts its calls, and does harm at one of them.

A call is named by its SOAP method, "CreateVM_Task", or by its HTTP method and route, "PUT /folder".
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.vsphere.interposer import Interposer

_METHOD = re.compile(rb"<(?:[^<>]*:)?Body[^>]*>\s*<(?:\w+:)?(\w+)")
_ASKS_TASKS = re.compile(rb"<type>Task</type>")
_TASK = re.compile(rb'type="Task">([^<]+)<')

UNCOUNTED = {"WaitForUpdatesEx", "ModifyListView", "CancelWaitForUpdates"}
"""The calls of the session's stream, whose number depends on the moment."""
READS = ("Retrieve", "Find", "Query", "HEAD", "GET", "Search", "Continue", "PbmQuery")
"""What the names of calls begin with that change nothing."""
LARGE = 4096
"""Bytes; what is larger has a middle."""

LONGEST_SILENCE_S = 300.0


class Moment(StrEnum):
    """When harm is done, as the server sees it."""

    BEFORE = "before"
    """The call never arrives."""
    MIDDLE = "middle"
    """It has arrived, half of it if it is large, and is not answered yet."""
    AFTER = "after"
    """It is answered, and the answer, half of it if it is large, does not arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One call of an operation. ``nth`` counts the calls of this name, from 1."""

    call: str
    nth: int
    moment: Moment

    def __str__(self) -> str:
        number = f" #{self.nth}" if self.nth > 1 else ""
        return f"{self.moment} {self.call}{number}"

    @property
    def changes(self) -> bool:
        return not self.call.startswith(READS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What is done at a point. It is given the task that the call began, "" where there is none."""

    point: Point
    do: Callable[[str], None]


class Gate(Interposer):
    """Listens with the lab's own certificate, so that whoever trusts the lab trusts it."""

    def __init__(self, url: str, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._lock_of_calls = threading.Lock()
        self._watched: list[str] | None = None
        self._harm_planned: Harm | None = None
        self._speaks = threading.Event()
        self.was_harmed = threading.Event()
        super().__init__(url, certificate.parent)

    def certificate_files(self, folder: Path) -> tuple[Path, Path]:
        return self._certificate, self._key

    def watch(self, harm: Harm | None = None) -> None:
        """Note the calls from now on, and do this harm when it is time."""
        with self._lock_of_calls:
            self._watched, self._harm_planned = [], harm
            self.was_harmed.clear()

    def seen(self) -> list[str]:
        """End it, and give the calls in their order."""
        with self._lock_of_calls:
            found, self._watched, self._harm_planned = self._watched or [], None, None
        return found

    def stay_silent(self) -> None:
        """Keep a connection open and say nothing on it until `speak`."""
        self._speaks.clear()
        self.was_harmed.set()
        self._speaks.wait(LONGEST_SILENCE_S)

    def speak(self) -> None:
        """Let go of connections that are silent."""
        self._speaks.set()

    def _one(self, client: ssl.SSLSocket, upstream: http.client.HTTPSConnection) -> bool:
        head, body = _request(client)
        lines = head.decode("latin-1").split("\r\n")
        if len(lines) < 2:
            return False
        verb, target, _ = lines[0].split(" ")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        harm = self._note(_named(verb, target, body))
        moment = harm.point.moment if harm else None
        if harm and moment is Moment.BEFORE:
            return self._do(harm, "")
        if harm and moment is Moment.MIDDLE:
            _send(upstream, verb, target, headers, body[: _half(body)], len(body))
            return self._do(harm, "")
        _send(upstream, verb, target, headers, body, len(body))
        response = upstream.getresponse()
        answer = self._with_own_address(response.read())
        if harm:
            with suppress(OSError):
                if len(answer) > LARGE:
                    client.sendall(_answer(verb, response, answer)[: len(answer) // 2])
            task = _TASK.search(answer) if len(answer) <= LARGE else None
            return self._do(harm, task[1].decode() if task else "")
        client.sendall(_answer(verb, response, answer))
        return True

    def _note(self, call: str) -> Harm | None:
        """Note a call; the harm that is to be done at it."""
        with self._lock_of_calls:
            if self._watched is None or call in UNCOUNTED:
                return None
            self._watched.append(call)
            harm = self._harm_planned
            if harm is None or harm.point.call != call:
                return None
            if Counter(self._watched)[call] != harm.point.nth:
                return None
            self._harm_planned = None
            return harm

    def _do(self, harm: Harm, task: str) -> bool:
        try:
            harm.do(task)
        finally:
            self.was_harmed.set()
        return False

    def _with_own_address(self, answer: bytes) -> bytes:
        """URLs of transfers lead here, too."""
        host, port = self._upstream
        return answer.replace(f"https://{host}:{port}/".encode(), self.url[: -len("sdk")].encode())


def _request(client: ssl.SSLSocket) -> tuple[bytes, bytes]:
    """Head and body of the next request; empty when the client has gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(65536)
        if not piece:
            return b"", b""
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    size, pieces = int(found[1]) if found else 0, [body]
    have = len(body)
    while have < size:
        piece = client.recv(1 << 18)
        if not piece:
            return b"", b""
        pieces.append(piece)
        have += len(piece)
    return head, b"".join(pieces)


def _send(
    upstream: http.client.HTTPSConnection,
    verb: str,
    target: str,
    headers: dict[str, str],
    body: bytes,
    size: int,
) -> None:
    upstream.putrequest(verb, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        if name.lower() != "content-length":
            upstream.putheader(name, value)
    if size or verb in {"PUT", "POST"}:
        upstream.putheader("Content-Length", str(size))
    upstream.endheaders(body or None)


def _half(body: bytes) -> int:
    return len(body) // 2 if len(body) > LARGE else len(body)


def _named(verb: str, target: str, body: bytes) -> str:
    found = _METHOD.search(body[:LARGE]) if target.startswith(("/sdk", "/pbm")) else None
    if found is None:
        return f"{verb} /{target.split('?', maxsplit=1)[0].split('/')[1]}"
    method = found[1].decode()
    if method == "RetrievePropertiesEx" and _ASKS_TASKS.search(body):
        return "WaitForUpdatesEx"  # what becomes of tasks is asked where the stream is late
    return method


def _answer(verb: str, response: http.client.HTTPResponse, body: bytes) -> bytes:
    kept = [
        f"{name}: {value}"
        for name, value in response.getheaders()
        if name.lower() not in {"transfer-encoding", "content-length", "connection"}
    ]
    size = response.headers.get("Content-Length", "0") if verb == "HEAD" else str(len(body))
    text = "\r\n".join(
        [f"HTTP/1.1 {response.status} {response.reason}", *kept, f"Content-Length: {size}", "", ""]
    )
    return text.encode("latin-1") + body
