"""No answer that a server can give does harm: it is refused in time, and takes little memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import vmops
from tests.vsphere.conftest import Place
from tests.vsphere.evil_server import ANSWERS, MIB, Answer, EvilServer
from vmops.errors import VMOpsError
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.session import Session
from vmops.vsphere.wire.answers import MOST_BYTES
from vmops.vsphere.wire.limits import Limits

# A twentieth of what holds by default.
LIMITS = Limits().times(0.05)
ANSWER_S = 1.5
NAMES = [answer.__name__ for answer in ANSWERS]
# What a receiver takes of a file, it takes into a file of its own, or it knows how long that is.
FILE_BYTES = 4 * MIB
SLACK_BYTES = 8 * MIB
"""What lies in sockets' buffers."""


@pytest.fixture
def evil(lab: Place, tmp_path: Path) -> Iterator[EvilServer]:
    with EvilServer(lab.url, tmp_path) as server:
        yield server


def connected(evil: EvilServer, lab: Place) -> Session:
    return vmops.connect(
        evil.url,
        lab.username,
        lab.password,
        ca_file=evil.ca_file,
        timeout_s=ANSWER_S,
        limits=LIMITS,
    )


def refused(evil: EvilServer, method: str, answer: Answer, do: Callable[[], Any]) -> None:
    """What is done meets this answer: it ends in time with an error of ours, or without harm."""
    evil.turn(method, answer)
    begin = time.monotonic()
    with suppress(VMOpsError):
        do()
    took_s = time.monotonic() - begin
    # Reads are repeated for a while. On a machine with others at work all of it takes longer.
    assert took_s < 20 * ANSWER_S, f"{took_s:.0f} s"
    assert evil.sent_bytes <= evil.calls[method] * (MOST_BYTES + SLACK_BYTES)
    evil.turn("", answer)


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
@pytest.mark.parametrize("method", ["RetrieveServiceContent", "Login"])
def test_connecting_ends_with_an_error(
    evil: EvilServer, lab: Place, method: str, answer: Answer
) -> None:
    evil.turn(method, answer)
    begin = time.monotonic()
    with pytest.raises(VMOpsError) as raised:
        connected(evil, lab).close()
    assert lab.password not in str(raised.value)
    assert time.monotonic() - begin < 20 * ANSWER_S
    assert evil.sent_bytes <= MOST_BYTES + SLACK_BYTES


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
def test_reads_end_with_an_error_and_the_session_goes_on(
    evil: EvilServer, lab: Place, answer: Answer
) -> None:
    with connected(evil, lab) as session:
        root = session.content.rootFolder
        method = "RetrievePropertiesEx"
        refused(evil, method, answer, lambda: session.properties.read_one(root, "name"))
        until = time.monotonic() + 20
        while True:  # a server that was given up is looked at before anything is sent to it
            try:
                assert session.properties.read_one(root, "name") == {"name": "Datacenters"}
                break
            except VMOpsError:
                assert time.monotonic() < until


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_files_end_with_an_error(evil: EvilServer, lab: Place, method: str, answer: Answer) -> None:
    with connected(evil, lab) as session:
        session.inventory.wait_fresh()
        files = session.datastore_files
        path = DatastorePath(session.inventory.datastores()[0].name, "nothing.txt")
        deeds: dict[str, Callable[[], Any]] = {
            "GET": lambda: files.read(path),
            "HEAD": lambda: files.size(path),
            "DELETE": lambda: files.delete(path),
            "PUT": lambda: files.write(path, b"text"),
        }
        refused(evil, method, answer, deeds[method])


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
def test_the_stream_of_changes_does_not_hold_up_its_readers(
    evil: EvilServer, lab: Place, answer: Answer
) -> None:
    with connected(evil, lab) as session:
        refused(evil, "WaitForUpdatesEx", answer, session.inventory.datastores)
