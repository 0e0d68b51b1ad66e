"""From the end of a task to its waiting caller."""

from __future__ import annotations

from benchmarks.endpoint import ENGINE, NOVA, PYVMOMI, Client, disk_images, endpoint
from benchmarks.report import Figure, Table, ratio, spread
from benchmarks.run_options import Run

LENGTHS_S = [0.04 + 0.047 * number for number in range(12)]
"""Spread over more than half a second, so that polling meets every phase."""

TITLE = "Wake-up after a task"

METHOD = """\
Power off and power on of one VM, each task made to take 0.04 to 0.56 s in twelve lengths. From
`completeTime`, which the lab notes before anybody is told, to the moment the waiting call returns;
server and client read the same clock. oslo.vmware asks at once and then every 0.5 s, so its
callers wait anything up to that long; pyVmomi's `WaitForTask` makes a filter for each task."""


def measure(run: Run) -> Figure:
    waited = {}
    with endpoint(run.folder("wake-up")) as lab:
        file = disk_images(run.folder("images"))["streamOptimized"]
        with lab.client(ENGINE) as client:
            instance, _ = client.spawn(client.image("streamOptimized", file))
            waited["vmops, one stream for all tasks"] = wake_ups(client, instance)
        with lab.client(PYVMOMI) as client:
            waited["pyVmomi, `WaitForTask`"] = wake_ups(client, instance)
        with lab.client(NOVA) as client:
            instance, _ = client.spawn(client.image("streamOptimized", file))
            waited["oslo.vmware, as Nova sets it up"] = wake_ups(client, instance)
    ours = next(iter(waited.values()))
    rows = [(name, spread(each), ratio(each, ours)) for name, each in waited.items()]
    head = ("client", "ms after the task's end", "/ vmops")
    return Figure(TITLE, METHOD, [Table(head, rows)])


def wake_ups(client: Client, instance: str) -> list[float]:
    """Milliseconds, one for each length; two that warm up do not count."""
    found = []
    lengths = [0.01, 0.01, *LENGTHS_S]
    for number, length in enumerate(lengths):
        client.lab.ask("delay_tasks", seconds=length)
        method = "PowerOnVM_Task" if number % 2 else "PowerOffVM_Task"
        found.append(client.worker.ask("wake_up", uuid=instance, method=method).result * 1e3)
    client.lab.ask("delay_tasks", seconds=0.0)
    return found[2:]
