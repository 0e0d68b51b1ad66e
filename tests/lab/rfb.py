"""The beginning of RFB (RFC 6143), written here: enough to log in and read a screen's content."""

from __future__ import annotations

import socket
import struct

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

_PIXEL_FORMAT = struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


class Rfb:
    """One viewer; ``send`` and ``receive(count)`` are its line."""

    def __init__(self, send, receive):
        self._send, self._receive = send, receive
        self.size = (0, 0)
        self.name = ""

    def greet(self):
        version = self._receive(12)
        assert version == b"RFB 003.008\n", version
        self._send(version)
        return set(self._receive(self._receive(1)[0]))

    def log_in(self, password=None):
        kinds = self.greet()
        if password is None:
            assert kinds == {1}
            self._send(b"\1")
        else:
            assert kinds == {2}
            self._send(b"\2")
            self._send(_answer(self._receive(16), password))
        [outcome] = struct.unpack(">I", self._receive(4))
        if outcome != 0:
            raise PermissionError(self._receive(struct.unpack(">I", self._receive(4))[0]).decode())
        self._send(b"\1")
        self.size = struct.unpack(">HH", self._receive(4))
        self._receive(16)
        self.name = self._receive(struct.unpack(">I", self._receive(4))[0]).decode()
        return self

    def picture(self):
        """The screen as rows of 32-bit pixels."""
        width, height = self.size
        self._send(struct.pack(">BB3x", 0, 0)[:4] + _PIXEL_FORMAT)
        self._send(struct.pack(">BBHi", 2, 0, 1, 0))
        self._send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        rows = [bytearray(width * 4) for _ in range(height)]
        assert self._receive(1) == b"\0"
        [count] = struct.unpack(">xH", self._receive(3))
        for _ in range(count):
            left, top, wide, high, encoding = struct.unpack(">HHHHi", self._receive(12))
            assert encoding == 0
            for row in range(top, top + high):
                rows[row][left * 4 : (left + wide) * 4] = self._receive(wide * 4)
        return [bytes(row) for row in rows]


def _answer(challenge, password):
    # VNC's DES takes each byte of the password with its bits in the other direction.
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode()[:8].ljust(8, b"\0"))
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 - as RFB wants it
    return encryptor.update(challenge) + encryptor.finalize()


class TcpViewer(Rfb):
    def __init__(self, port):
        self.line = socket.create_connection(("127.0.0.1", port), timeout=30)
        super().__init__(self.line.sendall, self._read)

    def _read(self, count):
        data = b""
        while len(data) < count:
            more = self.line.recv(count - len(data))
            if not more:
                raise ConnectionError("the console hung up")
            data += more
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.close()
