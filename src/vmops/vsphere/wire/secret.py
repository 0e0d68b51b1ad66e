"""A password that does not show itself."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Holds a text that no repr, log, traceback or pickle shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; to be used where it is sent, and kept nowhere."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled or copied.")

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__
