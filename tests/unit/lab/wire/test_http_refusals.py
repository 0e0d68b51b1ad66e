"""What a client is told of an error of this machine's file system."""

from __future__ import annotations

import errno
import os

import pytest

from vmops.lab.wire.http_refusals import refused


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ENOENT, 404),
        (errno.ENOTDIR, 404),
        (errno.ENOSPC, 507),
        (errno.EDQUOT, 507),
        (errno.EIO, 500),
    ],
)
def test_an_error_of_the_system_has_its_status(number: int, status: int) -> None:
    """A file that another request has just deleted is not there: no failure of the server."""
    answer = refused(OSError(number, os.strerror(number), "/a/path/of/this/machine"))
    assert answer.status == status
    assert "/a/path" not in (answer.text or "")
