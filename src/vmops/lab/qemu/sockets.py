"""Unix sockets in directories of any depth.

The address of a unix socket holds 107 bytes, less than the path of many a state folder. The kernel
resolves the address like any path, so it is given as ``/proc/self/fd/<directory>/<name>``, whose
length does not depend on where the directory is. The programs at the other end get their sockets
as open descriptors and never see a path.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def _short_address(file: Path) -> Iterator[str]:
    directory = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{file.name}"
    finally:
        os.close(directory)


def listen(file: Path, *, backlog: int) -> socket.socket:
    """Return a socket listening at ``file``, in place of whatever was there.

    Raises:
        OSError: the directory cannot be written.
    """
    file.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_address(file) as address:
            listener.bind(address)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(file: Path) -> socket.socket:
    """Return a non-blocking socket connected to the one that listens at ``file``.

    Raises:
        OSError: nobody listens there (``FileNotFoundError``, ``ConnectionRefusedError``), or the
            listener's queue is full (``BlockingIOError``).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        with _short_address(file) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
