"""A live migration, what is told of it, and where an instance is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim

from tests.backends import second_view
from tests.contract.engine import Bench
from vmops import Instance


@dataclass
class Told:
    """How often each callback was called, and with what."""

    post: list[tuple[Any, ...]] = field(default_factory=list)
    recover: list[tuple[Any, ...]] = field(default_factory=list)

    def counts(self) -> tuple[int, int]:
        return len(self.post), len(self.recover)


def migrate(bench: Bench, of: Any, dest: str, told: Told, **options: Any) -> None:
    ops = options.pop("ops", bench.ops)
    ops.live_migration(
        "context",
        of,
        dest,
        lambda *arguments: told.post.append(arguments),
        lambda *arguments: told.recover.append(arguments),
        **options,
    )


def place(bench: Bench, instance: Instance) -> tuple[str, set[str]]:
    """The names of the host and the datastores."""
    found = second_view.properties(bench.vm(instance), "runtime.host", "datastore")
    host = second_view.properties(found["runtime.host"], "name")["name"]
    stores = {second_view.properties(one, "name")["name"] for one in found["datastore"]}
    return str(host), stores


def other_host(bench: Bench, instance: Instance) -> str:
    here = place(bench, instance)[0]
    names = second_view.every(bench.content, vim.HostSystem, "name").values()
    return next(str(values["name"]) for values in names if values["name"] != here)


def host_named(bench: Bench, name: str) -> Any:
    return second_view.named(bench.content, vim.HostSystem, name)


def files_of(bench: Bench, instance: Instance) -> set[str]:
    return {path for path in bench.tree() if f"] {instance.uuid}" in path}
