"""A viewer of RFB 3.8 (RFC 6143) that can do no more than log in and read the screen once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

_VERSION = b"RFB 003.008\n"
_NONE, _VNC = 1, 2
# 32 bits for each pixel, of which the first byte is red, then green, then blue.
_PIXELS = struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 0, 8, 16)


class Viewer:
    """One viewer on a line; ``receive`` returns as many bytes as it is asked for."""

    def __init__(self, send: Callable[[bytes], object], receive: Callable[[int], bytes]) -> None:
        self._send = send
        self._receive = receive
        self.width = self.height = 0

    def log_in(self, password: str | None = None) -> Viewer:
        """Come in and return itself, with a password or where none is asked for.

        Raises:
            PermissionError: the password is wrong.
        """
        assert self._receive(12) == _VERSION
        self._send(_VERSION)
        kinds = set(self._receive(self._receive(1)[0]))
        wanted = _NONE if password is None else _VNC
        assert kinds == {wanted}, kinds
        self._send(bytes([wanted]))
        if password is not None:
            self._send(_answer(self._receive(16), password))
        if self._number() != 0:
            raise PermissionError(self._receive(self._number()).decode())
        self._send(b"\x01")  # others may look on
        self.width, self.height = struct.unpack(">HH", self._receive(4))
        self._receive(16)
        self._receive(self._number())
        return self

    def picture(self) -> list[bytes]:
        """The whole screen now: rows of three bytes for each pixel, red, green, blue."""
        self._send(struct.pack(">Bxxx", 0) + _PIXELS)
        self._send(struct.pack(">BxHi", 2, 1, 0))  # raw only
        self._send(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        while (kind := self._receive(1)[0]) != 0:
            assert kind == 2, f"message {kind}"  # a bell
        rows = [bytearray(3 * self.width) for _ in range(self.height)]
        (count,) = struct.unpack(">xH", self._receive(3))
        for _ in range(count):
            left, top, width, height, encoding = struct.unpack(">HHHHi", self._receive(12))
            assert encoding == 0, f"encoding {encoding}"
            for row in range(top, top + height):
                pixels = self._receive(4 * width)
                for colour in range(3):
                    rows[row][3 * left + colour : 3 * (left + width) : 3] = pixels[colour::4]
        return [bytes(row) for row in rows]

    def _number(self) -> int:
        return int.from_bytes(self._receive(4))


def _answer(challenge: bytes, password: str) -> bytes:
    # VNC takes the bits of each byte of a DES key the other way round.
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode()[:8].ljust(8, b"\0"))
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 - RFC 6143, 7.2.2
    return encryptor.update(challenge) + encryptor.finalize()


class TcpViewer(Viewer):
    """A viewer on a connection of its own to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._line = socket.create_connection(("127.0.0.1", port), timeout=30)
        super().__init__(self._line.sendall, self._read)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._line.recv(count - len(data))
            if not more:
                raise ConnectionError("the console hung up")
            data += more
        return data

    def __enter__(self) -> TcpViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
