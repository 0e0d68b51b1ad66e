"""Files that are there whole or not at all: written under a temporary name beside."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_PREFIX, _SUFFIX = ".vmops-", ".partial"


def is_partial(name: str) -> bool:
    """Whether a file of this name is one being written, which nobody else should see."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def partial_beside(file: Path) -> Path:
    """A new temporary name in the folder of ``file``."""
    return file.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")


def write_whole(file: Path, content: bytes | str) -> None:
    """Write a file that only its owner can read; on failure the old one is as it was.

    Raises:
        OSError: it cannot be written.
    """
    temporary = partial_beside(file)
    data = content.encode() if isinstance(content, str) else content
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
