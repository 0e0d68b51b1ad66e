"""Whole numbers in texts from elsewhere: ASCII digits, and no more of them than the bound has.

``str.isdigit`` is true for ``²``, which `int` refuses, and `int` refuses more than some thousand
digits: either would stop an operation by a text that one foreign machine carries.
"""

from __future__ import annotations

MOST = 2**63 - 1
"""The largest number that vSphere's types and file formats carry."""

INT_MAX = 2**31 - 1
"""The largest number that vSphere's ``int`` carries: memory in MiB, counts, shares."""
PORT_MAX = 65535
"""The last TCP port."""

_DIGITS = frozenset("0123456789")


def whole_number(text: object, most: int = MOST) -> int | None:
    """The number from 0 to ``most`` that a text is; None if it is none, or is beyond."""
    digits = str(text)
    # Leading zeros count: nobody who means a number writes a page of them.
    if not 0 < len(digits) <= len(str(most)) or not _DIGITS.issuperset(digits):
        return None
    number = int(digits)
    return number if number <= most else None
