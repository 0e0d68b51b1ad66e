"""A virtual serial port concentrator: it writes what machines print to a log for each.

Written from the description of the protocol and from nothing of the lab's; the log of a machine is
named as Nova looks for it.
"""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IAC, DONT, DO, WONT, WILL, SB, SE = (bytes([n]) for n in (255, 254, 253, 252, 251, 250, 240))
EXTENSION = bytes([232])
KNOWN_1, KNOWN_2, DO_PROXY, WILL_PROXY, WONT_PROXY = (bytes([n]) for n in (0, 1, 70, 71, 73))
VC_UUID, GET_VC_UUID, NAME, GET_NAME = (bytes([n]) for n in (80, 81, 82, 83))
_TOKEN = re.compile(
    rb"\xff\xfa(?P<message>(?:[^\xff]|\xff\xff)*)\xff\xf0|\xff(?P<verb>[\xfb-\xfe])(?P<option>.)"
    rb"|(?P<data>(?:[^\xff]|\xff\xff)+)",
    re.DOTALL,
)


class Concentrator(socketserver.ThreadingTCPServer):
    """Stands in for ``uri``; ``said`` is what each machine told of itself, in order."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.uri = uri
        self.said: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Machine)

    @property
    def address(self) -> str:
        return f"telnet://127.0.0.1:{self.server_address[1]}"


class _Machine(socketserver.BaseRequestHandler):
    server: Concentrator

    def handle(self) -> None:
        self.log: Path | None = None
        self.agreed = False
        waiting = b""
        while received := self.request.recv(4096):
            waiting += received
            while (token := _TOKEN.match(waiting)) is not None:
                # Data goes on; a mark that may not be whole yet waits for the rest.
                waiting = waiting[token.end() :]
                if not self.take(token):
                    return

    def take(self, token: re.Match[bytes]) -> bool:
        if (data := token["data"]) is not None:
            assert self.log is not None, "it prints before it says who it is"
            assert self.agreed, "it prints before it may"
            with self.log.open("ab") as stream:
                stream.write(data.replace(IAC + IAC, IAC))
            return True
        if (message := token["message"]) is not None:
            assert message[:1] == EXTENSION
            return self.hear(message[1:2], message[2:].replace(IAC + IAC, IAC))
        known = token["option"] in (b"\0", b"\3", EXTENSION)
        if token["verb"] == WILL:
            self.request.sendall(IAC + (DO if known else DONT) + token["option"])
        elif token["verb"] == DO:
            self.request.sendall(IAC + (WILL if known else WONT) + token["option"])
        return True

    def hear(self, kind: bytes, content: bytes) -> bool:
        text = content.decode("utf-8", errors="replace")
        if kind == KNOWN_1:
            assert DO_PROXY in content
            self.say(KNOWN_2 + KNOWN_1 + KNOWN_2 + DO_PROXY + WILL_PROXY + WONT_PROXY + VC_UUID)
            self.say(GET_VC_UUID)
            self.say(GET_NAME)
            self.say(bytes([99]))
        elif kind == DO_PROXY:
            self.server.said.append(("proxy", text))
            self.agreed = text == f"S{self.server.uri}"
            self.say(WILL_PROXY if self.agreed else WONT_PROXY)
            return self.agreed
        elif kind == VC_UUID:
            self.server.said.append(("uuid", text))
            self.log = self.server.folder / text.replace(" ", "").replace("-", "")
        elif kind == NAME:
            self.server.said.append(("name", text))
        else:
            self.server.said.append((str(kind[0]), text))
        return True

    def say(self, message: bytes) -> None:
        self.request.sendall(IAC + SB + EXTENSION + message + IAC + SE)


@contextmanager
def concentrator(folder: Path, uri: str = "vmops") -> Iterator[Concentrator]:
    """One that serves for the length of a block."""
    with Concentrator(folder, uri) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
