"""Resize, rescue and pause through the command: what it says, what the status is meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import Command, spawn


@pytest.fixture
def web(vmops: Command, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"size-{abs(hash(request.node.name)) % 10**8}"
    made = spawn(vmops, name)
    assert made.code == 0, made.err
    yield name
    assert vmops("destroy", name, "--yes").code == 0


def shown(vmops: Command, name: str) -> dict[str, Any]:
    return dict(vmops("show", name, "-o", "json").json)


def status(vmops: Command, name: str) -> str:
    return str(shown(vmops, name)["status"])


@pytest.mark.parametrize("more", [(), ("--disk", "1")], ids=["size", "disk"])
def test_a_resize_is_told_and_confirmed(vmops: Command, web: str, more: tuple[str, ...]) -> None:
    before = shown(vmops, web)
    done = vmops("resize", web, "--cpus", "2", *more)
    assert done.code == 0, done.err
    assert f"vmops resize --confirm {web}" in done.err
    now = shown(vmops, web)
    assert (now["status"], now["cpus"], now["memory_mib"]) == ("resized", 2, before["memory_mib"])
    listed = vmops("list", "--status", "resized", "-o", "name").out.split()
    assert listed == [web]
    confirmed = vmops("resize", "--confirm", web)
    assert (confirmed.code, confirmed.err.splitlines()[-1]) == (0, f"{web}: confirmed")
    assert (status(vmops, web), shown(vmops, web)["cpus"]) == ("running", 2)
    again = vmops("resize", "--confirm", web)
    assert (again.code, again.err.splitlines()[-1]) == (0, f"{web}: nothing to confirm")


def test_a_resize_is_reverted(vmops: Command, web: str) -> None:
    before = shown(vmops, web)
    assert vmops("resize", web, "--memory", "64M", "--disk", "1", "--cpus", "2").code == 0
    assert shown(vmops, web)["memory_mib"] == 64
    assert "1.0 GiB" in shown(vmops, web)["disks"][0]
    assert vmops("resize", "--revert", web).code == 0
    after = shown(vmops, web)
    changing = {"booted"}
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }
    again = vmops("resize", "--revert", web)
    assert again.code == 4
    assert "not being resized" in again.err


def test_one_that_is_off_stays_off(vmops: Command, web: str) -> None:
    assert vmops("stop", web).code == 0
    assert vmops("resize", web, "--cpus", "2", "--wait").code == 0
    assert (status(vmops, web), shown(vmops, web)["booted"]) == ("resized", None)
    assert vmops("resize", "--revert", web).code == 0
    assert (status(vmops, web), shown(vmops, web)["cpus"]) == ("off", 1)


def test_one_that_was_started_meanwhile_runs_after_a_revert(vmops: Command, web: str) -> None:
    assert vmops("stop", web).code == 0
    assert vmops("resize", web, "--cpus", "2").code == 0
    assert vmops("start", web).code == 0
    assert vmops("resize", "--revert", web).code == 0
    assert status(vmops, web) == "running"


def test_a_disk_that_would_shrink_is_refused(vmops: Command) -> None:
    assert spawn(vmops, "shrink", "--disk", "2").code == 0
    refused = vmops("resize", "shrink", "--disk", "1")
    assert refused.code == 2
    assert "cannot shrink" in refused.err
    assert status(vmops, "shrink") == "running"


def test_a_resize_to_another_host(vmops: Command, web: str) -> None:
    here = shown(vmops, web)["host"]
    there = {"esx1.lab.local": "esx2.lab.local", "esx2.lab.local": "esx1.lab.local"}[here]
    assert vmops("resize", web, "--host", there).code == 0
    assert shown(vmops, web)["host"] == there
    assert vmops("resize", "--revert", web).code == 0
    assert shown(vmops, web)["host"] == here
    unknown = vmops("resize", web, "--host", "nowhere")
    assert unknown.code == 3
    assert "esx1.lab.local" in unknown.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "Nothing to do: add what is to change"),
        (("--confirm", "--cpus", "2"), "--confirm cannot be combined with --cpus"),
        (("--confirm", "--revert"), "--confirm or --revert, not both"),
        (("--host", "a", "--datastore", "b"), "--host or --datastore, not both"),
        (("--memory", "much"), "is not a size"),
        (("--cpus", "2", "--wait", "--wait-for", "("), "--wait-for"),
    ],
)
def test_what_makes_no_sense(vmops: Command, options: tuple[str, ...], words: str) -> None:
    refused = vmops("resize", "any", *options)
    assert refused.code == 2
    assert words in refused.err


def test_a_guest_that_says_nothing_is_waited_for_in_vain(vmops: Command, web: str) -> None:
    late = vmops("resize", web, "--cpus", "2", "--wait", "--timeout", "1")
    assert late.code == 6
    assert "did not show" in late.err
    assert status(vmops, web) == "resized"


def test_a_rescue_and_back(vmops: Command, web: str) -> None:
    done = vmops("rescue", web)
    assert done.code == 0, done.err
    assert f"vmops unrescue {web}" in done.err
    assert status(vmops, web) == "rescued"
    assert len(shown(vmops, web)["disks"]) == 2
    second = vmops("rescue", web)
    assert second.code == 4
    assert "rescued already" in second.err
    assert vmops("pause", web).code == 4
    assert vmops("resize", web, "--cpus", "2").code == 4
    assert vmops("unrescue", web).code == 0
    assert status(vmops, web) == "running"
    assert vmops("unrescue", web).code == 4


def test_an_unknown_rescue_image(vmops: Command, web: str) -> None:
    refused = vmops("rescue", web, "--image", "no-such")
    assert refused.code == 3
    assert status(vmops, web) == "running"


def test_a_pause_and_back(vmops: Command, web: str) -> None:
    assert vmops("pause", web).err.splitlines()[-1] == f"{web}: paused"
    assert status(vmops, web) == "paused"
    refused = vmops("resume", web)
    assert refused.code == 4
    assert "Unpause it" in refused.err
    assert vmops("unpause", web).code == 0
    assert status(vmops, web) == "running"


def test_a_disk_of_no_size_is_refused(vmops: Command, web: str) -> None:
    refused = vmops("resize", web, "--disk", "0")
    assert refused.code == 2
    assert "too little" in refused.err
    assert status(vmops, web) == "running"
