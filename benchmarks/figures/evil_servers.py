"""What an answer costs the engine that no server may give."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.endpoint import endpoint
from benchmarks.report import Figure, Table, number, spread
from benchmarks.run_options import Run
from tests.vsphere.evil_server import (
    Answer,
    EvilServer,
    deep,
    deep_any,
    endless,
    endless_chunks,
    endless_headers,
    huge_length,
    many_objects,
    packed,
    response,
    sized,
    trickle,
    wide_document_type,
)

TITLE = "Servers that send too much"

METHOD = """\
A client logs in, and its next read, of one name, gets such an answer. Seconds from the call to its
error, with limits a tenth of those that hold by default (an answer may take 6 s), because a read
that got none is repeated for a while; and how far the peak of the client's memory is above what it
was after the login."""
LIMIT_S = 6.0


def most_objects(method: str) -> Iterator[bytes]:
    """As many as are taken: they are built, and then found to be of no use."""
    one = b'<objects><obj type="VirtualMachine">vm-1</obj></objects>'
    return sized(response(method, b"<returnval>" + one * 99_000 + b"</returnval>"))


ANSWERS: dict[str, Answer] = {
    "a length of 10^12 bytes": huge_length,
    "spaces without end": endless,
    "chunks without end": endless_chunks,
    "headers without end": endless_headers,
    "ten bytes a second": trickle,
    "packed by gzip": packed,
    "200,000 objects, 11 MiB": many_objects,
    "99,000 objects, 5 MiB": most_objects,
    "190,000 levels": deep,
    "90,000 lists in lists": deep_any,
    "a document type in UTF-16": wide_document_type,
}
CLIENT = """\
import contextlib, json, pathlib, sys, time
import vmops
from vmops.errors import VMOpsError
from vmops.vsphere.wire.limits import Limits

def peak():
    [line] = [l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l]
    return int(line.split()[1]) / 1024

given = json.loads(sys.stdin.readline())
limit_s = given.pop("limit_s")
session = vmops.connect(**given, timeout_s=limit_s, limits=Limits().times(0.1))
root, before = session.content.rootFolder, peak()
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter()
with contextlib.suppress(VMOpsError):
    session.properties.read_one(root, "name")
print(json.dumps([time.perf_counter() - begin, peak() - before]), flush=True)
"""


def measure(run: Run) -> Figure:
    rows = []
    with endpoint(run.scratch / "lab") as lab, EvilServer(lab.login["url"], run.scratch) as server:
        for name, answer in ANSWERS.items():
            measured = [once(server, lab.login, answer) for _ in range(run.repeat)]
            seconds = [each[0] for each in measured]
            more = max(each[1] for each in measured)
            rows.append((name, spread(seconds), number(more, 0)))
    return Figure(TITLE, METHOD, [Table(("answer", "seconds", "MiB"), rows)])


def once(server: EvilServer, login: dict[str, str], answer: Answer) -> tuple[float, float]:
    """Seconds, and MiB more."""
    server.turn("", answer)
    given = {
        "url": server.url,
        "username": login["username"],
        "password": login["password"],
        "ca_file": str(server.ca_file),
        "limit_s": LIMIT_S,
    }
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(json.dumps(given) + "\n")
        client.stdin.flush()
        assert client.stdout.readline() == "ready\n"
        server.turn("RetrievePropertiesEx", answer)
        client.stdin.write("\n")
        client.stdin.flush()
        seconds, more = json.loads(client.stdout.readline())
    return float(seconds), float(more)
