"""A WebSocket client (RFC 6455), written here, so that nothing of the lab's own is its judge."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
from pathlib import Path
from urllib.parse import urlsplit


class Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class WebSocket:
    def __init__(
        self, url: str, certificate: Path, subprotocol: str = "binary", more: tuple[str, ...] = ()
    ) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=str(certificate))
        context.check_hostname = False
        plain = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self._line = context.wrap_socket(plain)
        self._buffer = b""
        self._payload = b""
        lines = [
            f"GET {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *more,
        ]
        if subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self._line.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        status, *headers = head.decode().split("\r\n")
        if status.split()[1] != "101":
            self.close()
            raise Refused(int(status.split()[1]))
        self.headers = dict(line.lower().split(": ", 1) for line in headers)

    def send(self, data: bytes) -> None:
        mask = os.urandom(4)
        length = (
            bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        )
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self._line.sendall(b"\x82" + length + mask + masked)

    def receive(self, count: int) -> bytes:
        while len(self._payload) < count:
            self._payload += self._frame()
        data, self._payload = self._payload[:count], self._payload[count:]
        return data

    def _frame(self) -> bytes:
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            [length] = struct.unpack(">H", self._take(2))
        elif length == 127:
            [length] = struct.unpack(">Q", self._take(8))
        data = self._take(length)
        if first & 0x0F == 8:
            raise ConnectionError("the console hung up")
        assert first == 0x82, "a whole binary message"
        return data

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _more(self) -> None:
        data = self._line.recv(65536)
        if not data:
            raise ConnectionError("the console hung up")
        self._buffer += data

    def close(self) -> None:
        self._line.close()

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
