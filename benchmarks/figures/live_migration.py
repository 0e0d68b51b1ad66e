"""How long a guest stands still while it moves."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

from benchmarks.endpoint import ENGINE, PLACE, SIZE, Client, endpoint
from benchmarks.report import Figure, Table, spread
from benchmarks.run_options import Run
from benchmarks.workers import BUILD
from vmops.lab.guest import ensure_guest

ROOM = {**SIZE, "memory_mb": 128}
MOVES = 5
"""Times the repetitions: one move alone says little."""
LOOK_S = 0.001
LONGEST_S = 120
TICKS = (
    'i=0; while true; do i=$((i+1)); echo "tick $i"; busybox usleep 10000; done > /dev/ttyS0 2>&1 &'
)

TITLE = "Downtime of a live migration"

METHOD = """\
The lab's small Linux with 128 MiB of memory counts on its serial line, a tick about every 10 ms,
and is moved to and fro between two hosts of the lab, each a QEMU of its own, by `live_migration`.
The line's log is looked at every millisecond: the longest time without a tick is what the guest and
those who talk to it notice, and no tick may be left out. The other row is the longest time without
a tick in as many stretches of as many seconds without a move: what emulation and the load of the
machine do by themselves."""


class Silences(threading.Thread):
    """Watches a file, and keeps the longest time in which it did not grow."""

    def __init__(self, file: Path) -> None:
        super().__init__(daemon=True)
        self._file = file
        self._ended = threading.Event()
        self.longest_s = 0.0

    def run(self) -> None:
        size, since = self._file.stat().st_size, time.perf_counter()
        while not self._ended.wait(LOOK_S):
            now = self._file.stat().st_size
            if now != size:
                moment = time.perf_counter()
                self.longest_s = max(self.longest_s, moment - since)
                size, since = now, moment

    def __enter__(self) -> Silences:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def measure(run: Run) -> Figure:
    image_file = ensure_guest(BUILD)
    moved, still, taken = [], [], []
    with (
        endpoint(run.folder("live-migration"), hypervisor="qemu") as lab,
        lab.client(ENGINE) as client,
    ):
        root = Path(lab.lab.ask("datastore_root", name=PLACE["datastore"]).result)
        image = client.image("streamOptimized", image_file, scsi_model="vmpvscsi")
        instance, _ = client.spawn(image, size=ROOM)
        log = root / instance / "serial.log"
        wait_for(log, "root login on 'tty1'")
        count_ticks(client, instance)
        wait_for(log, r"tick 100\r")
        for _ in range(run.repeat * MOVES):
            with Silences(log) as silences:
                answer = client.worker.ask("live_migration", uuid=instance)
                time.sleep(0.5)
            moved.append(silences.longest_s * 1e3)
            taken.append(answer.seconds)
            with Silences(log) as silences:
                time.sleep(answer.seconds + 0.5)
            still.append(silences.longest_s * 1e3)
        ticks = [int(number) for number in re.findall(rb"tick (\d+)\r", log.read_bytes())]
        client.worker.ask("destroy", uuid=instance)
    if ticks != list(range(1, len(ticks) + 1)):
        raise RuntimeError("the guest's log lacks a tick, or has one twice")
    rows = [
        (f"during a move of {spread(taken)} s", spread(moved, digits=0)),
        ("without a move", spread(still, digits=0)),
    ]
    told = f"{len(moved)} moves; {len(ticks):,} ticks in the log, none left out, none twice."
    head = ("longest time without a tick", "ms")
    return Figure(TITLE, METHOD, [Table(head, rows), told])


def count_ticks(client: Client, instance: str) -> None:
    """Have root, who is logged in at the guest's screen, start the loop."""
    told = client.worker.ask("tell_guest", uuid=instance, command=TICKS).result
    client.lab.ask("type", moid=told, text="guestinfo do|sh\n")


def wait_for(log: Path, pattern: str) -> None:
    begin = time.perf_counter()
    while not (log.exists() and re.search(pattern.encode(), log.read_bytes())):
        if time.perf_counter() - begin > LONGEST_S:
            raise RuntimeError(f"{log} shows no {pattern!r}")
        time.sleep(0.05)
