"""Files that are written beside and renamed, so that nobody ever finds a half of one."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(file: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file; on failure the old one is as it was.

    Who may read it says the user's umask; ``private``: its owner alone.

    Raises:
        OSError: it cannot be written.
    """
    temporary = file.with_name(f".{uuid.uuid4().hex}.part")
    try:
        if private:
            temporary.touch(mode=0o600, exist_ok=False)
        temporary.write_bytes(content)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_new(file: Path, content: bytes) -> None:
    """The same for a file that must not be there; one that is stays as it is.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be written.
    """
    temporary = file.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.write_bytes(content)
        give_new_name(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def give_new_name(file: Path, name: Path) -> None:
    """Give a file a name in its folder that nothing has; its old one may be left to it, too.

    Raises:
        FileExistsError: something has that name, and keeps it.
    """
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: nothing better can be done there
        if name.exists():
            raise FileExistsError(name) from None
        file.rename(name)
