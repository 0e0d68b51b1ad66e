"""The two ways to write a UUID: ``564d..-..-..`` and, in files, ``56 4d .. ..-.. ..``."""

from __future__ import annotations

import re


def uuid_digits(text: str | None) -> str | None:
    """Return the 32 hexadecimal digits of a UUID in any writing; None if it is none."""
    digits = re.sub(r"[\s-]", "", text or "")
    return digits if re.fullmatch(r"[0-9A-Fa-f]{32}", digits) else None


def dashed_uuid(text: str | None) -> str | None:
    """Write a UUID with dashes, its digits as they are; None if it is none.

    >>> dashed_uuid("60 00 C2 9a 11 22 33 44-55 66 77 88 99 aa bb cc")
    '6000C29a-1122-3344-5566-778899aabbcc'
    """
    digits = uuid_digits(text)
    if digits is None:
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def spaced_uuid(text: str) -> str:
    """Write a UUID in pairs of digits: ``56 4d .. ..-.. ..``."""
    digits = re.sub(r"[\s-]", "", text)
    pairs = [digits[at : at + 2] for at in range(0, 32, 2)]
    return f"{' '.join(pairs[:8])}-{' '.join(pairs[8:])}"
