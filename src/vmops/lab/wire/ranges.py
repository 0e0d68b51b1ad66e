"""Byte ranges of a download: one range of bytes, or the whole.

See: RFC 9110, sections 13.1.5 (If-Range) and 14.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})", re.IGNORECASE)


class RangeNotSatisfiable(ValueError):
    """The range begins behind the end."""


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first and one behind the last byte asked for; None for the whole.

    What is not one well-formed range of bytes (several, another unit) means the whole, as the RFC
    allows.

    Raises:
        RangeNotSatisfiable: nothing of the range is in the file.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
        if int(last) == 0:
            raise RangeNotSatisfiable(header)
    else:
        start = int(first)
        end = min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(header)
    return start, end


def http_date(seconds: float) -> str:
    """Return a time as Last-Modified has it."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def is_unchanged(if_range: str | None, etag: str, modified: float) -> bool:
    """Say whether a range may be served: If-Range is absent, or names the file as it is now."""
    if if_range is None:
        return True
    if if_range.strip().startswith('"'):
        return if_range.strip() == etag
    try:
        return parsedate_to_datetime(if_range).timestamp() == int(modified)
    except (ValueError, TypeError):  # also a weak tag, which never matches here
        return False
