"""A picture of a few lines of text, for a machine that has no screen."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

# Letters of five by seven dots; each number is a row, its highest bit on the left.
_LETTERS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "B": (30, 17, 17, 30, 17, 17, 30),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "D": (30, 17, 17, 17, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "F": (31, 16, 16, 30, 16, 16, 16),
    "G": (14, 17, 16, 23, 17, 17, 15),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "J": (7, 2, 2, 2, 2, 18, 12),
    "K": (17, 18, 20, 24, 20, 18, 17),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 25, 21, 19, 19, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "Q": (14, 17, 17, 17, 21, 18, 13),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "U": (17, 17, 17, 17, 17, 17, 14),
    "V": (17, 17, 17, 17, 17, 10, 4),
    "W": (17, 17, 17, 21, 21, 21, 10),
    "X": (17, 17, 10, 4, 10, 17, 17),
    "Y": (17, 17, 10, 4, 4, 4, 4),
    "Z": (31, 1, 2, 4, 8, 16, 31),
}
_BLANK = (0,) * 7
_WIDTH, _HEIGHT = 640, 400
_SCALE = 3
_LEFT, _TOP = 32, 48
_COLUMN, _LINE = 6 * _SCALE, 12 * _SCALE
_PAPER, _INK = 0x20, 0xE0


def plain_screen(lines: Sequence[str]) -> bytes:
    """Return a PNG of 640 by 400 grey dots with the lines on it, in capital letters."""
    rows = [bytearray([_PAPER] * _WIDTH) for _ in range(_HEIGHT)]
    for number, line in enumerate(lines):
        for column, character in enumerate(line.upper()):
            _draw(rows, character, _LEFT + column * _COLUMN, _TOP + number * _LINE)
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 0, 0, 0, 0)
    pixels = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(pixels)), _chunk(b"IEND", b""))
    )


def _draw(rows: list[bytearray], character: str, left: int, top: int) -> None:
    for y, dots in enumerate(_LETTERS.get(character, _BLANK)):
        for x in range(5):
            if dots >> (4 - x) & 1:
                start = left + x * _SCALE
                for row in rows[top + y * _SCALE : top + (y + 1) * _SCALE]:
                    row[start : start + _SCALE] = bytes([_INK]) * _SCALE


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
