"""Files that are written beside and renamed, so that nobody ever finds a half of one."""

from __future__ import annotations

import uuid
from pathlib import Path


def write_whole(file: Path, content: bytes) -> None:
    """Write a file; on failure the old one is as it was.

    Raises:
        OSError: it cannot be written.
    """
    temporary = file.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
