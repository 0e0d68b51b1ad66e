"""SOAP calls of each operation, counted by the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.endpoint import ENGINE, NOVA, Client, disk_images, endpoint
from benchmarks.report import Figure, Table
from benchmarks.run_options import Run
from vmops.vsphere.live.stream import STREAM_METHODS

SPAWN = {
    "preallocated": "spawn, image not cached: flat",
    "sparse": "spawn, image not cached: sparse",
    "streamOptimized": "spawn, image not cached: streamOptimized",
}
CACHED, DESTROY = "spawn, image cached", "destroy, running"
NAMED = {
    "power_off": "power off",
    "power_on": "power on",
    "reboot": "hard reboot",
    "suspend": "suspend",
    "resume": "resume",
    "get_info": "get_info",
}
KNOWN, LIST = "get_info, nothing having changed", "list_instances"
GOALS = {
    **dict.fromkeys(SPAWN.values(), 14),
    CACHED: 6,
    "power off": 1,
    "power on": 1,
    "hard reboot": 1,
    "suspend": 1,
    "resume": 1,
    DESTROY: 3,
}
Counts = dict[str, list[Counter[str]]]

STREAM = STREAM_METHODS - {"CreateContainerView", "DestroyView"}
"""In a session that is warm the stream has its views; one made then is the operation's own."""

TITLE = "SOAP calls of an operation"

METHOD = """\
Counted by the lab as they came in. Both clients did the same on the same endpoint, one after the
other, each with a session that had done everything once before. Flavor: 1 vCPU, 64 MiB, 1 GiB root
disk, so that an image of 16 MiB grows; one NIC on a distributed port group; linked clone.

vmops hears of changes through one stream for each session: `WaitForUpdatesEx` as a long poll, and
`ModifyListView` to have tasks watched. Operations and threads share these calls, and the goals
leave them out: they are what `STREAM_METHODS` in `src/vmops/vsphere/live/stream.py` lists, except
that a view made during an operation counts as the operation's here. The column "with the stream"
leaves out nothing. One operation at a time, as here, is when the stream costs most for each.

Nova's class has no stream. It reads a task's state at once and every half second from then on,
which is one or two reads for most tasks here; all of its calls are in its column."""


def measure(run: Run) -> Figure:
    with endpoint(run.folder("calls")) as lab:
        images = disk_images(run.folder("images"))
        counted = {}
        for program in (ENGINE, NOVA):
            with lab.client(program) as client:
                counted[program] = count(client, images, run)
    ours, novas = counted[ENGINE], counted[NOVA]
    rows = [row(name, ours[name], novas[name]) for name in ours]
    head = ("operation", "goal", "vmops", "with the stream", "Nova", "Nova / vmops")
    parts: list[Table | str] = [Table(head, rows), verdict(ours), methods(ours, novas)]
    return Figure(TITLE, METHOD, parts)


def count(client: Client, images: dict[str, Path], run: Run) -> Counts:
    counts: Counts = {}
    for _ in range(1 + run.repeat):
        for name, calls in operations(client, images):
            counts.setdefault(name, []).append(calls)
    return {name: each[1:] for name, each in counts.items()}


def operations(client: Client, images: dict[str, Path]) -> Iterator[tuple[str, Counter[str]]]:
    """Every operation once, with the calls it made."""
    ask, begin = client.worker.ask, client.lab.ask

    def counted(do: str, **arguments: str) -> Counter[str]:
        begin("clear")
        ask(do, **arguments)
        return calls(client)

    for disk_type, name in SPAWN.items():
        image = client.image(disk_type, images[disk_type])
        begin("clear")
        instance, _ = client.spawn(image)
        yield name, calls(client)
        if disk_type != "streamOptimized":
            ask("destroy", uuid=instance)
    ask("destroy", uuid=instance)
    begin("clear")
    instance, _ = client.spawn(image)
    yield CACHED, calls(client)
    for do, name in NAMED.items():
        yield name, counted(do, uuid=instance)
    yield KNOWN, counted("get_info", uuid=instance)
    yield LIST, counted("list_instances")
    yield DESTROY, counted("destroy", uuid=instance)


def calls(client: Client) -> Counter[str]:
    return Counter(client.lab.ask("calls").result)


def beside_stream(calls: Counter[str]) -> int:
    return sum(count for method, count in calls.items() if method not in STREAM)


def row(name: str, ours: list[Counter[str]], novas: list[Counter[str]]) -> tuple[str, ...]:
    mine = median(beside_stream(each) for each in ours)
    theirs = median(each.total() for each in novas)
    return (
        name,
        str(GOALS.get(name, "")),
        f"**{mine:g}**",
        f"{median(each.total() for each in ours):g}",
        f"{theirs:g}",
        times(theirs, mine),
    )


def times(theirs: float, mine: float) -> str:
    """How many times as many calls the peer needs, where that is a number."""
    return f"{theirs / mine:.1f}x" if mine else ""


def verdict(ours: Counts) -> str:
    missed = [
        name
        for name, goal in GOALS.items()
        if median(beside_stream(each) for each in ours[name]) > goal
    ]
    if missed:
        return f"Over the goal: {', '.join(missed)}."
    return "All goals are met."


def methods(ours: Counts, novas: Counts) -> Table:
    """What the calls of the last repetition were."""
    rows = []
    for name in ours:
        own: dict[str, int] = {}
        stream: dict[str, int] = {}
        for method, count in ours[name][-1].items():
            (stream if method in STREAM else own)[method] = count
        rows.append((name, listed(own), listed(stream), listed(novas[name][-1])))
    return Table(("operation", "vmops", "its stream", "Nova"), rows, left=4)


def listed(calls: dict[str, int]) -> str:
    return ", ".join(
        f"{method} {count}" if count > 1 else method for method, count in calls.items()
    )
