"""A large file to a datastore."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from benchmarks.endpoint import ENGINE, NOVA, PLACE, Client, Endpoint, endpoint
from benchmarks.figures.memory import forget_peak, peak
from benchmarks.report import Figure, Table, number, spread
from benchmarks.run_options import Run

MIB = 1024 * 1024
DATACENTER = "DC0"

TITLE = "Upload"

METHOD = """\
{size} MiB of random bytes, in the page cache, by PUT to the lab's `/folder` over TLS on loopback.
The clients take turns. The lab writes the file on the same two cores and is the slower side, so the
rates say how near each client comes to `curl -T`, not what a datastore can take. Memory: the peak
of the process's resident set, and how far that is above what it had before the upload; the rest is
Python and its libraries."""


def measure(run: Run) -> Figure:
    file = random_file(run.folder("source") / "disk.img", run.upload_mib)
    rates: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    growths: dict[str, list[float]] = {}
    with (
        endpoint(run.folder("upload")) as lab,
        lab.client(ENGINE) as ours,
        lab.client(NOVA) as novas,
    ):
        root = Path(lab.lab.ask("datastore_root", name=PLACE["datastore"]).result)
        for _ in range(1 + run.repeat):
            for name, (seconds, most, before) in {
                "vmops": by_client(ours, file),
                "`curl -T`": by_curl(lab, file),
                "Nova's `image_transfer`": by_client(novas, file),
            }.items():
                rates.setdefault(name, []).append(run.upload_mib * MIB / seconds / 1e6)
                peaks.setdefault(name, []).append(most / MIB)
                growths.setdefault(name, []).append((most - before) / MIB)
            remove(root, run.upload_mib)
    curls = median(rates["`curl -T`"][1:])
    rows = [
        (
            name,
            spread(each[1:], digits=0),
            number(median(each[1:]) / curls, 2),
            number(max(peaks[name]), 0),
            number(max(growths[name]), 0),
        )
        for name, each in rates.items()
    ]
    head = ("client", "MB/s", "/ curl", "peak MiB", "MiB for the upload")
    return Figure(TITLE, METHOD.format(size=run.upload_mib), [Table(head, rows)])


def random_file(path: Path, mib: int) -> Path:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    return path


def by_client(client: Client, file: Path) -> tuple[float, int, int]:
    """Seconds, and bytes of memory: the most, and those before the upload."""
    before = forget_peak(client.worker.pid)
    answer = client.worker.ask(
        "upload",
        path=str(file),
        datacenter=DATACENTER,
        datastore=PLACE["datastore"],
        name=f"{client.program}.bin",
    )
    return answer.seconds, peak(client.worker.pid), before


def by_curl(lab: Endpoint, file: Path) -> tuple[float, int, int]:
    base = lab.login["url"].removesuffix("/sdk")
    query = urlencode({"dcPath": DATACENTER, "dsName": PLACE["datastore"]})
    # The password goes through a pipe, not through the list of processes.
    config = f'user = "{lab.login["username"]}:{lab.login["password"]}"\n'
    command = ["curl", "--silent", "--show-error", "--fail", "--config", "-"]
    command += ["--cacert", lab.login["ca_file"], "--output", os.devnull]
    command += ["--upload-file", str(file), f"{base}/folder/curl.bin?{query}"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(config.encode())
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"curl ended with {process.returncode}")
    return seconds, used.ru_maxrss * 1024, 0


def remove(root: Path, mib: int) -> None:
    """Delete what was uploaded; a file that is not all there ends the run."""
    for name in ("engine.bin", "curl.bin", "nova_driver.bin"):
        target = root / name
        if target.stat().st_size != mib * MIB:
            raise RuntimeError(f"{name} has {target.stat().st_size} bytes")
        target.unlink()
