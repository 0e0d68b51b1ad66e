"""What an owner writes where it works: "<operation> <owner> <number>".

The number is one that this process never used before, so that the same owner's later mark, or its
mark renewed, never reads as an earlier one.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from vmops.in_flight.owners import NOBODY, OWNER, owner

_numbers = itertools.count(1)
_MARK = re.compile(rf"(?P<operation>.*?) ?\b(?P<owner>{OWNER})\b(?: (?P<number>\S+))?")
_NAMED = re.compile(rf"(?P<prefix>.*)-(?P<owner>{OWNER})-(?P<number>\w+)(?:\..*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mark that was read. ``owner`` is "" if its text names none: it is watched all the same."""

    text: str
    operation: str
    owner: str

    @property
    def pid(self) -> str:
        """The owner's process id, which means something on its own machine alone."""
        return "".join(self.owner.split("-")[2:3])

    @classmethod
    def parse(cls, text: str) -> Mark:
        """What a text says that stands where marks do, whatever wrote it."""
        found = _MARK.fullmatch(text)
        if found is None:
            return cls(
                text=text, operation=text.split(" ", maxsplit=1)[0] or "an operation", owner=""
            )
        return cls(text=text, operation=found["operation"] or "an operation", owner=found["owner"])


def mark(operation: str) -> str:
    """The mark of an operation of this process."""
    return f"{operation} {owner()} {next(_numbers)}"


def nobodys_mark(operation: str) -> str:
    """The mark of an operation that was given up: everybody sees at once that it has no owner."""
    return f"{operation} {NOBODY} {next(_numbers)}"


def unique_name(prefix: str) -> str:
    """A new name for a temporary thing, which tells its owner: "tmp-<owner>-<number>"."""
    return f"{prefix}-{owner()}-{next(_numbers)}"


def named_mark(name: str, operation: str, *, sign: str = "") -> Mark | None:
    """The mark that is the name of a temporary thing; None if it names no owner.

    ``sign`` is what its owner renews, where it renews something.
    """
    found = _NAMED.fullmatch(name)
    if found is None:
        return None
    return Mark(text=f"{name} {sign}".rstrip(), operation=operation, owner=found["owner"])
