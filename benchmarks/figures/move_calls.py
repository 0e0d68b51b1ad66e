"""SOAP calls of what takes an instance elsewhere and brings it back, counted by the server."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.endpoint import ENGINE, NOVA, PLACE, PYVMOMI, Client, disk_images, endpoint
from benchmarks.figures.calls import Counts, beside_stream, calls, methods, times
from benchmarks.report import Figure, Table
from benchmarks.run_options import Run

BIGGER = {"vcpus": 2, "memory_mb": 128, "root_gb": 2}
VOLUME_MIB = 64

TITLE = "SOAP calls of moves, images and volumes"

METHOD = """\
Counted as above, in another lab, for one running instance after the other. Goal: half of what Nova
needs. Resize: from 1 vCPU, 64 MiB and a root disk of 1 GiB to twice that, on the same host. Rescue:
with the image that the instance was made from, which is in the cache. Live migration: to another
host; Nova is told a cluster and takes the first of its hosts, and what its compute manager asks
before is not counted. Volumes: a virtual disk held by a machine that is never on, as Cinder's
driver keeps them, attached to a running instance."""


def measure(run: Run) -> Figure:
    with endpoint(run.folder("move-calls")) as lab:
        images = disk_images(run.folder("images"))
        counted = {}
        with lab.client(PYVMOMI) as admin:
            for program in (ENGINE, NOVA):
                with lab.client(program) as client:
                    counted[program] = count(client, admin, images, run)
    ours, novas = counted[ENGINE], counted[NOVA]
    rows = [row(name, ours[name], novas[name]) for name in ours]
    head = ("operation", "goal", "vmops", "with the stream", "Nova", "Nova / vmops")
    missed = [one[0] for one in rows if float(one[2].strip("*")) > float(one[1])]
    verdict = f"Over the goal: {', '.join(missed)}." if missed else "All goals are met."
    parts: list[Table | str] = [Table(head, rows), verdict, methods(ours, novas)]
    return Figure(TITLE, METHOD, parts)


def count(client: Client, admin: Client, images: dict[str, Path], run: Run) -> Counts:
    image = client.image("streamOptimized", images["streamOptimized"])
    counts: Counts = {}
    for _ in range(1 + run.repeat):
        name = f"volume-{uuid.uuid4()}"
        volume = admin.worker.ask("make_volume", name=name, mib=VOLUME_MIB, **PLACE).result
        for operation, used in operations(client, image, volume):
            counts.setdefault(operation, []).append(used)
    return {name: each[1:] for name, each in counts.items()}


def operations(
    client: Client, image: dict[str, Any], volume: str
) -> Iterator[tuple[str, Counter[str]]]:
    """Every operation once, with the calls it made."""
    instance, _ = client.spawn(image)
    data = {"volume": volume, "volume_id": str(uuid.uuid4()), "name": "volume"}
    connection = {"driver_volume_type": "vmdk", "data": data}

    def counted(do: str, **arguments: Any) -> Counter[str]:
        client.lab.ask("clear")
        client.worker.ask(do, uuid=instance, **arguments)
        return calls(client)

    yield "snapshot", counted("snapshot")
    yield "live migration", counted("live_migration")
    yield "attach volume", counted("attach_volume", connection=connection)
    yield "detach volume", counted("detach_volume", connection=connection)
    yield "rescue", counted("rescue", image=image)
    yield "unrescue", counted("unrescue")
    yield "resize: migrate", counted("migrate", size=BIGGER)
    yield "resize: finish", counted("finish", image=image)
    yield "resize: revert", counted("revert")
    client.worker.ask("migrate", uuid=instance, size=BIGGER)
    client.worker.ask("finish", uuid=instance, image=image)
    yield "resize: confirm", counted("confirm")
    client.worker.ask("destroy", uuid=instance)


def row(name: str, ours: list[Counter[str]], novas: list[Counter[str]]) -> tuple[str, ...]:
    mine = median(beside_stream(each) for each in ours)
    theirs = median(each.total() for each in novas)
    return (
        name,
        f"{theirs / 2:g}",
        f"**{mine:g}**",
        f"{median(each.total() for each in ours):g}",
        f"{theirs:g}",
        times(theirs, mine),
    )
