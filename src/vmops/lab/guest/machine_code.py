"""A notebook for hand-written machine code: bytes, labels, and the distances between them."""

from __future__ import annotations


class Code:
    """Machine code in the order it is written down.

    Every instruction is given as the bytes it is, next to its assembler form, so that it can be
    compared with any disassembler's output. Only distances to labels are worked out here.
    """

    def __init__(self, origin: int) -> None:
        self._origin = origin
        self._bytes = bytearray()
        self._labels: dict[str, int] = {}
        self._fixups: list[tuple[int, int, str]] = []

    def label(self, name: str) -> None:
        """Name the place that comes next.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._labels:
            raise ValueError(f"label {name} is set twice")
        self._labels[name] = len(self._bytes)

    def op(self, code: str, assembler: str) -> None:
        """An instruction without labels: its bytes in hexadecimal, and what they say."""
        if not assembler:
            raise ValueError("an instruction without its meaning")
        self._bytes += bytes.fromhex(code)

    def short(self, code: str, target: str) -> None:
        """A jump whose distance is one signed byte."""
        self._fixup(code, 1, target)

    def near(self, code: str, target: str) -> None:
        """A call or jump whose distance is a word."""
        self._fixup(code, 2, target)

    def address(self, code: str, target: str) -> None:
        """An instruction that ends in the address of a label."""
        self._fixup(code, 0, target)

    def data(self, content: bytes) -> None:
        """Bytes that are not run."""
        self._bytes += content

    def assemble(self) -> bytes:
        """Return the finished bytes.

        Raises:
            KeyError: a label is used and never set.
            ValueError: a short jump goes further than 127 bytes.
        """
        code = bytearray(self._bytes)
        for place, kind, target in self._fixups:
            to = self._labels[target]
            if kind == 0:
                code[place : place + 2] = (self._origin + to).to_bytes(2, "little")
            elif kind == 1:
                if not -128 <= to - place - 1 <= 127:
                    raise ValueError(f"{target} is too far for a short jump")
                code[place : place + 1] = (to - place - 1).to_bytes(1, "little", signed=True)
            else:
                code[place : place + 2] = (to - place - 2).to_bytes(2, "little", signed=True)
        return bytes(code)

    def _fixup(self, code: str, kind: int, target: str) -> None:
        self._bytes += bytes.fromhex(code)
        self._fixups.append((len(self._bytes), kind, target))
        self._bytes += bytes(1 if kind == 1 else 2)
