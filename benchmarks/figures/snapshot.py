"""A running guest's disk to an image."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from statistics import median

from benchmarks.endpoint import ENGINE, PLACE, SIZE, endpoint
from benchmarks.figures.memory import forget_peak, peak
from benchmarks.report import Figure, Table, number, spread
from benchmarks.run_options import Run
from vmops.lab.guest import boot_sector_disk

MIB = 1024 * 1024
SMALL_MIB, LARGE_MIB = 256, 1024
GRAIN = 64 * 1024
WORDS = b"The quick brown fox jumps over the lazy dog, and nobody knows why. "

TITLE = "Snapshot to an image"

METHOD = """\
`snapshot` of a running guest, from the call to the image in the store: the snapshot, its export as
streamOptimized through the lab over TLS, SHA-256 and a look into the file on arrival, the
snapshot's removal. Beside it `qemu-img convert -O vmdk -o subformat=streamOptimized` of the same
disk's file, in turns. The disks are full: half of each 64 KiB is random, half is text. MB/s are
bytes of the disk. Peak of memory is that of the engine's process during the snapshots, and how far
that is above what it had before."""


def measure(run: Run) -> Figure:
    rows: list[tuple[str, ...]] = []
    most: dict[int, float] = {}
    with endpoint(run.folder("snapshot"), hypervisor="qemu") as lab, lab.client(ENGINE) as client:
        root = Path(lab.lab.ask("datastore_root", name=PLACE["datastore"]).result)
        for mib in (SMALL_MIB, LARGE_MIB):
            file = full_disk(run.folder(f"source-{mib}") / "disk.raw", mib)
            image = client.image("preallocated", file, linked_clone="false")
            instance, _ = client.spawn(image, size={**SIZE, "root_gb": 0})
            file.unlink()
            (disk,) = [each for each in root.rglob("*-flat.vmdk") if instance in str(each)]
            times: dict[str, list[float]] = {"vmops": [], "`qemu-img convert`": []}
            sizes: dict[str, int] = {}
            peaks, growths = [], []
            for number_ in range(1 + run.repeat):
                before = forget_peak(client.worker.pid)
                answer = client.worker.ask("snapshot", uuid=instance)
                peaks.append(peak(client.worker.pid) / MIB)
                growths.append((peak(client.worker.pid) - before) / MIB)
                times["vmops"].append(answer.seconds)
                sizes["vmops"] = answer.result
                copied = disk.parent.parent / f"copy-{number_}"
                times["`qemu-img convert`"].append(convert(disk, copied))
                sizes["`qemu-img convert`"] = copied.stat().st_size
                copied.unlink()
            client.worker.ask("destroy", uuid=instance)
            most[mib] = max(growths)
            rates = {n: [mib * MIB / t / 1e6 for t in each[1:]] for n, each in times.items()}
            theirs = median(rates["`qemu-img convert`"])
            for name, each in rates.items():
                ours = name == "vmops"
                rows.append(
                    (
                        name,
                        f"{mib} MiB",
                        spread(each),
                        f"{number(median(each) / theirs, 2)}x",
                        number(sizes[name] / MIB, 0),
                        number(max(peaks), 0) if ours else "",
                        number(max(growths), 0) if ours else "",
                    )
                )
    head = ("", "disk", "MB/s", "/ qemu-img", "image MiB", "peak MiB", "MiB for the snapshot")
    more = max(most[LARGE_MIB] - most[SMALL_MIB], 0.0)
    grown = f"For four times the disk it took {number(more, 1)} MiB more."
    return Figure(TITLE, METHOD, [Table(head, rows, left=2), grown])


def full_disk(path: Path, mib: int) -> Path:
    """A bootable disk without a hole, of which a half cannot be compressed."""
    text = (WORDS * (GRAIN // 2 // len(WORDS) + 1))[: GRAIN // 2]
    boots = boot_sector_disk(size_mib=1)
    with path.open("wb") as file:
        file.write(boots)
        for _ in range((mib * MIB - len(boots)) // GRAIN):
            file.write(os.urandom(GRAIN // 2) + text)
    return path


def convert(disk: Path, target: Path) -> float:
    command = ["qemu-img", "convert", "-U", "-f", "raw", "-O", "vmdk"]
    command += ["-o", "subformat=streamOptimized", str(disk), str(target)]
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - begin
