"""Telnet, as far as a serial line over TCP needs it: bytes as they are, marks stripped.

See: RFC 854, RFC 856 (binary), RFC 857 (echo), RFC 858 (suppress go ahead).
"""

from __future__ import annotations

from collections.abc import Generator

from vmops.lab.qemu.concentrator import OPTION, Extension

_IAC, _DONT, _DO, _WONT, _WILL, _SB, _SE = 255, 254, 253, 252, 251, 250, 240
_BINARY, _ECHO, _SUPPRESS_GO_AHEAD = 0, 1, 3
_OURS = {_BINARY, _ECHO, _SUPPRESS_GO_AHEAD}
_PEERS = {_BINARY, _SUPPRESS_GO_AHEAD}
_LONGEST_MESSAGE = 1024


class Telnet:
    """One connection's translation in both directions; ``extension`` is VMware's, if it is used."""

    def __init__(self, *, is_server: bool, extension: Extension | None = None) -> None:
        self._offered = _OURS if is_server else _OURS - {_ECHO}
        self._extension = extension
        if extension is not None:
            self._offered = self._offered | {OPTION}
        self._has_begun = False
        self._parser = self._parse()
        self._answer = bytearray()
        self._data = bytearray()
        next(self._parser)

    def greeting(self) -> bytes:
        """What to send first: eight bits to a byte in both directions, and no line editing."""
        offers = b"".join(bytes([_IAC, _WILL, option]) for option in sorted(self._offered))
        return offers + b"".join(bytes([_IAC, _DO, option]) for option in sorted(_PEERS))

    def encode(self, data: bytes) -> bytes:
        """Return the bytes that carry ``data``."""
        return data.replace(b"\xff", b"\xff\xff")

    def decode(self, received: bytes) -> tuple[bytes, bytes]:
        """Return the data in what was received, and what is to be answered at once."""
        for byte in received:
            self._parser.send(byte)
        data, answer = bytes(self._data), bytes(self._answer)
        self._data.clear()
        self._answer.clear()
        return data, answer

    def _parse(self) -> Generator[None, int, None]:
        while True:
            byte = yield
            if byte != _IAC:
                self._data.append(byte)
                continue
            command = yield
            if command == _IAC:
                self._data.append(_IAC)
            elif command in (_DO, _WILL):
                self._refuse_unless_known(command, (yield))
            elif command in (_DONT, _WONT):
                yield
            elif command == _SB:
                message = bytearray()
                previous, byte = 0, (yield)
                while (previous, byte) != (_IAC, _SE):
                    # A doubled mark is data, not the start of the end.
                    if byte != _IAC or previous == _IAC:
                        message.append(byte)
                    previous, byte = (0 if previous == byte == _IAC else byte), (yield)
                    del message[_LONGEST_MESSAGE:]
                self._hear(bytes(message))

    def _hear(self, message: bytes) -> None:
        if self._extension is not None and message[:1] == bytes([OPTION]):
            for answer in self._extension.answers(message[1:]):
                self._say(answer)

    def _say(self, message: bytes) -> None:
        content = bytes([OPTION]) + message
        self._answer += bytes([_IAC, _SB]) + self.encode(content) + bytes([_IAC, _SE])

    def _refuse_unless_known(self, command: int, option: int) -> None:
        # What was offered or asked for is agreed with this; the rest is declined, once.
        if command == _DO and option == OPTION and self._extension is not None:
            if not self._has_begun:
                self._has_begun = True
                self._say(self._extension.begin())
        elif command == _DO and option not in self._offered:
            self._answer += bytes([_IAC, _WONT, option])
        elif command == _WILL and option not in _PEERS:
            self._answer += bytes([_IAC, _DONT, option])
