"""Plans, waiting and records, with every verb that changes something."""

from __future__ import annotations

from typing import Any

import click
import pytest
import yaml

from tests.cli.conftest import Command, spawn
from tests.contract.planning import is_change
from vmops.cli.main import COMMANDS, cli
from vmops.lab import Lab

# Verbs that look only, or that change nothing but what is on this machine.
LOOKING = {
    "list", "show", "diagnostics", "console log", "console screenshot", "console url", "log",
    "screenshot", "interface list", "volume list", "volume show", "image", "lab", "audit", "env",
    "doctor", "completion",
}  # fmt: skip
MAC = "00:50:56:3d:00:01"


def verbs() -> list[str]:
    """Every verb that changes something at the endpoint."""
    found = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        inner = command.commands if isinstance(command, click.Group) else {}
        found += [f"{name} {verb}" for verb in inner] or [name]
    return [verb for verb in found if verb not in LOOKING and verb.split()[0] not in LOOKING]


def command_of(verb: str) -> click.Command:
    name, _, inner = verb.partition(" ")
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command.commands[inner] if isinstance(command, click.Group) else command


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_that_changes_something_can_be_planned(verb: str) -> None:
    options = {name for param in command_of(verb).params for name in param.opts}
    assert {"--plan", "--output"} <= options


def test_the_verbs_are_known() -> None:
    assert {"spawn", "destroy", "resize", "interface attach", "snapshot create"} <= set(verbs())


@pytest.fixture(scope="module")
def web1(vmops: Command) -> dict[str, Any]:
    made = spawn(vmops, "web1", "-o", "json")
    assert made.code == 0, made.err
    return dict(made.json)


PLANS = {
    "spawn": ("spawn", "new1", "--image", "small", "--memory", "16M"),
    "stop": ("stop", "web1"),
    "start": ("start", "web1"),
    "reboot": ("reboot", "web1", "--hard", "--wait"),
    "suspend": ("suspend", "web1", "--wait"),
    "pause": ("pause", "web1"),
    "rescue": ("rescue", "web1"),
    "resize": ("resize", "web1", "--cpus", "2", "--wait"),
    "snapshot": ("snapshot", "create", "web1", "--name", "never"),
    "migrate": ("migrate", "web1", "--live"),
    "attach": ("interface", "attach", "web1", "--network", "VM Network", "--mac", MAC),
    "destroy": ("destroy", "web1"),
}


@pytest.mark.parametrize("verb", PLANS)
def test_a_plan_is_shown_and_nothing_is_sent(
    vmops: Command, lab: Lab, web1: dict[str, Any], verb: str
) -> None:
    before = vmops("list", "-o", "json").json, vmops("image", "list", "-o", "json").json
    lab.failures.plan()
    shown = vmops(*PLANS[verb], "--plan")
    assert [call for call in lab.failures.calls() if is_change(call)] == []
    assert shown.code == 0, shown.err
    head, *lines, last = shown.out.splitlines()
    assert head == f"Plan: {' '.join(PLANS[verb][: 3 if verb in {'snapshot', 'attach'} else 2])}"
    assert lines[0].startswith("  1. ")
    # On the stream of the plan: behind a pipe the other one would be shown first.
    assert last.endswith("would be sent. Nothing was changed.")
    assert "would be sent" not in shown.err
    in_json = vmops(*PLANS[verb], "--plan", "-o", "json")
    assert in_json.err.splitlines()[-1] == last
    data = in_json.json
    assert yaml.safe_load(vmops(*PLANS[verb], "--plan", "-o", "yaml").out)[0].keys() == {
        "title", "steps", "notes",
    }  # fmt: skip
    calls = [call["method"] for step in data[0]["steps"] for call in step["calls"]]
    assert calls
    assert all(any(line.strip().startswith(call) for line in lines) for call in calls)
    after = vmops("list", "-o", "json").json, vmops("image", "list", "-o", "json").json
    assert after == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("spawn", "web1", "--image", "small"), "The name 'web1' is taken."),
        (("spawn", "new1", "--image", "no-such"), "no-such"),
        (("resume", "web1"), "is running"),
        (("unrescue", "web1"), "is not rescued"),
        (("resize", "web1", "--revert"), "is not being resized"),
        (("migrate", "web1", "--live", "--host", "esx9"), "esx1.lab.local"),
        (("snapshot", "create", "web1", "--name", "small"), "'small'"),
        (("interface", "attach", "web1", "--network", "nowhere"), "nowhere"),
        (("destroy", "nobody"), "nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_as_without_the_plan(
    vmops: Command, web1: dict[str, Any], words: tuple[str, ...], said: str
) -> None:
    planned = vmops(*words, "--plan")
    assert (planned.out, planned.code != 0) == ("", True)
    assert said in planned.err
    more = ("--yes",) if words[0] == "destroy" else ()
    real = vmops(*words, *more)
    assert real.code == planned.code
    assert planned.err.splitlines()[-1] in real.err


def test_several_instances_have_a_plan_each(vmops: Command, web1: dict[str, Any]) -> None:
    assert spawn(vmops, "web2", "--no-power-on").code == 0
    plan = vmops("destroy", "web1", "web2", "--plan", "-o", "json").json
    assert [part["title"] for part in plan] == ["destroy web1", "destroy web2"]
    methods = [[c["method"] for step in part["steps"] for c in step["calls"]] for part in plan]
    assert methods == [["PowerOffVM_Task", "DELETE", "Destroy_Task"], ["DELETE", "Destroy_Task"]]
    assert vmops("destroy", "web2", "--yes").code == 0


def test_a_record_is_printed_after_each_change(vmops: Command, web1: dict[str, Any]) -> None:
    def status(*words: str) -> str:
        done = vmops(*words, "-o", "json")
        assert done.code == 0, done.err
        found = done.json
        return str((found[0] if isinstance(found, list) else found)["status"])

    assert status("suspend", "web1", "--wait") == "suspended"
    assert status("resume", "web1", "--wait") == "running"
    assert status("pause", "web1") == "paused"
    assert status("unpause", "web1") == "running"
    assert status("rescue", "web1") == "rescued"
    assert status("unrescue", "web1") == "running"
    assert status("resize", "web1", "--cpus", "2") == "resized"
    assert status("resize", "web1", "--confirm") == "running"
    assert status("migrate", "web1", "--live") == "running"
    assert status("stop", "web1", "--wait") == "off"
    assert status("start", "web1") == "running"
    attached = vmops(
        "interface", "attach", "web1", "--network", "VM Network", "--mac", MAC, "-o", "json"
    )
    assert attached.json["mac_address"] == MAC
    detached = vmops("interface", "detach", "web1", "--mac", MAC, "-o", "json")
    assert not any(MAC in nic for nic in detached.json["nics"])
    image = vmops("snapshot", "create", "web1", "--name", "web1-image", "-o", "json").json
    assert image["name"] == "web1-image"
    assert vmops("image", "remove", "web1-image").code == 0
    gone = vmops("destroy", "web1", "--yes", "-o", "json").json
    assert gone == [{"name": "web1", "uuid": web1["uuid"], "status": "destroyed"}]
