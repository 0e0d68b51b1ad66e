"""Images of instances, and instances that change their host, through the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyVmomi import vim

from tests.cli.conftest import Command, spawn
from vmops.lab import Lab
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel


@pytest.fixture(scope="module")
def web1(vmops: Command) -> str:
    made = spawn(vmops, "web1")
    assert made.code == 0, made.err
    return made.out.strip()


def host_of(vmops: Command, name: str) -> str:
    return str(vmops("show", name, "-o", "json").json["host"])


def test_an_image_of_an_instance_boots(vmops: Command, web1: str) -> None:
    made = vmops("snapshot", "create", "web1", "--name", "web1-image")
    assert made.code == 0, made.err
    assert "as after a power failure" in made.err
    (image,) = [one for one in vmops("image", "list", "-o", "json").json if one["id"] in made.out]
    assert image["name"] == "web1-image"
    again = vmops("spawn", "web2", "--image", "web1-image", "--memory", "16M")
    assert again.code == 0, again.err
    assert vmops("show", "web2", "-o", "json").json["status"] == "running"
    assert vmops("destroy", "web2", "--yes").code == 0


def test_an_image_of_an_instance_is_written_to_a_file_too(
    vmops: Command, web1: str, tmp_path: Path
) -> None:
    file = tmp_path / "web1.raw"
    create = ("snapshot", "create", "web1", "--name", "web1-file", "--export", str(file))
    assert vmops(*create, "--disk-format", "raw", "--plan").code == 0
    assert not file.exists()
    made = vmops(*create, "--disk-format", "raw")
    assert made.code == 0, made.err
    shown = vmops("image", "show", "web1-file", "-o", "json").json
    assert file.stat().st_size == shown["capacity_bytes"]
    assert b"vmops boot sector" in file.read_bytes()
    assert vmops("image", "remove", "web1-file").code == 0


def test_a_name_that_is_taken_is_said(vmops: Command, web1: str) -> None:
    refused = vmops("snapshot", "create", "web1", "--name", "small")
    assert refused.code != 0
    assert "'small'" in refused.err


def test_an_image_needs_a_name(vmops: Command, web1: str) -> None:
    assert vmops("snapshot", "create", "web1").code == 2


def test_an_instance_goes_to_the_host_that_is_named_and_to_the_other_one(
    vmops: Command, web1: str
) -> None:
    here = host_of(vmops, "web1")
    there = {"esx1.lab.local": "esx2.lab.local"}.get(here, "esx1.lab.local")
    moved = vmops("migrate", "web1", "--live", "--host", there, "--wait")
    assert moved.code == 0, moved.err
    assert moved.err.splitlines()[-1].startswith(f"web1: on {there} after ")
    assert host_of(vmops, "web1") == there
    assert vmops("migrate", "web1", "--live", "--block-migration").code == 0
    assert host_of(vmops, "web1") == here


def test_where_it_cannot_go_is_said(vmops: Command, web1: str) -> None:
    here = host_of(vmops, "web1")
    refused = vmops("migrate", "web1", "--live", "--host", here)
    assert refused.code != 0
    assert "already" in refused.err
    unknown = vmops("migrate", "web1", "--live", "--host", "esx9")
    assert "esx1.lab.local" in unknown.err
    assert vmops("migrate", "web1").code == 2


def test_without_another_usable_host_there_is_nowhere_to_go(
    vmops: Command, lab: Lab, web1: str
) -> None:
    other = next(h for h in ("esx1.lab.local", "esx2.lab.local") if h != host_of(vmops, "web1"))

    async def set_connection(kernel: Kernel, state: str) -> None:
        hosts = [one for one in kernel.registry.all(ManagedEntity) if one.name == other]
        kernel.update(hosts[0], {"runtime.connectionState": state})

    states = vim.HostSystem.ConnectionState
    lab.on_loop(lambda kernel: set_connection(kernel, states.disconnected))
    try:
        refused = vmops("migrate", "web1", "--live")
    finally:
        lab.on_loop(lambda kernel: set_connection(kernel, states.connected))
    assert refused.code != 0
    assert "no other host" in refused.err
    assert host_of(vmops, "web1") != other
