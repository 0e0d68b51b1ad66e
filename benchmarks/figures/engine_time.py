"""Time of a spawn from the cache."""

from __future__ import annotations

from benchmarks.endpoint import ENGINE, NOVA, Client, Endpoint, disk_images, endpoint
from benchmarks.report import Figure, Table, ratio, spread
from benchmarks.run_options import Run
from benchmarks.workers import Answer

CLIENTS = {
    "vmops": (ENGINE, {}),
    "Nova": (NOVA, {}),
    "Nova, `task_poll_interval` 0.01 s": (NOVA, {"poll_s": 0.01}),
}
DELAYS = {"as fast as the lab is": 0.0, "at least 300 ms each": 0.3}

TITLE = "Engine time of a cached spawn"

METHOD = """\
One spawn after the other from a cached streamOptimized image, linked clone, root disk grown, one
NIC, powered on, against a lab without guests. Wall time includes what the lab takes for it; CPU
time is that of the client's process alone. Nova's driver waits for tasks by asking every half
second; the third row shows it asking every 10 ms instead, as nobody would on a
real vCenter: what is left is its own work."""


def measure(run: Run) -> Figure:
    taken: dict[tuple[str, str], list[Answer]] = {}
    with endpoint(run.folder("engine-time")) as lab:
        file = disk_images(run.folder("images"))["streamOptimized"]
        for name, (program, options) in CLIENTS.items():
            with lab.client(program, **options) as client:
                image = client.image("streamOptimized", file)
                for tasks, seconds in DELAYS.items():
                    taken[name, tasks] = spawns(lab, client, image, seconds, run.repeat)
    rows = []
    for tasks in DELAYS:
        ours = [answer.seconds for answer in taken["vmops", tasks]]
        for name in CLIENTS:
            wall = [answer.seconds * 1e3 for answer in taken[name, tasks]]
            cpu = [answer.cpu_seconds * 1e3 for answer in taken[name, tasks]]
            times = ratio([each / 1e3 for each in wall], ours)
            rows.append((name, tasks, spread(wall), times, spread(cpu)))
    head = ("client", "tasks", "wall ms", "/ vmops", "client's CPU ms")
    return Figure(TITLE, METHOD, [Table(head, rows, left=2)])


def spawns(
    lab: Endpoint, client: Client, image: dict[str, str], delay: float, repeat: int
) -> list[Answer]:
    """What spawns take; the first fills the cache and does not count."""
    answers = []
    for number in range(1 + repeat):
        lab.lab.ask("delay_tasks", seconds=delay if number else 0.0)
        instance, answer = client.spawn(image)
        answers.append(answer)
        lab.lab.ask("delay_tasks", seconds=0.0)
        client.worker.ask("destroy", uuid=instance)
    return answers[1:]
