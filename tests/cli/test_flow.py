"""An instance's life through the command, seen by the command and by the lab's own state."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command, spawn
from vmops.lab import Lab


@pytest.fixture(scope="module")
def web1(vmops: Command) -> str:
    made = spawn(vmops, "web1")
    assert made.code == 0, made.err
    return made.out.strip()


def test_spawn_tells_its_steps_on_stderr_and_the_uuid_on_stdout(vmops: Command) -> None:
    made = spawn(vmops, "first", "--no-power-on")
    assert made.code == 0
    assert len(made.out.strip()) == 36
    titles = [line.rsplit(" (")[0] for line in made.err.splitlines()]
    assert titles[:2] == ["  Choose where it goes", "  Create the VM"]
    assert "  Attach the disks" in titles
    assert "  Power on" not in titles
    assert made.err.splitlines()[-1].startswith("first: created after ")


def test_spawn_tells_its_steps_as_json(vmops: Command) -> None:
    made = spawn(vmops, "json", "--progress", "json", "--no-power-on", "-o", "json")
    events = [json.loads(line) for line in made.err.splitlines()[:-1]]
    assert {"event": "StepStarted", "operation": "spawn", "title": "Create the VM"} in events
    assert made.json["name"] == "json"
    assert made.json["status"] == "off"


def test_an_instance_lives(vmops: Command, lab: Lab, web1: str) -> None:
    def status() -> str:
        return str(vmops("show", "web1", "-o", "json").json["status"])

    assert status() == "running"
    for command, becomes in (
        ("suspend", "suspended"),
        ("resume", "running"),
        ("reboot", "running"),
        ("stop", "off"),
        ("start", "running"),
    ):
        assert vmops(command, "web1").code == 0, command
        assert status() == becomes, command
    folder = vmops("show", "web1", "-o", "json").json["folder"]
    datastore, _, path = folder.removeprefix("[").partition("] ")
    files = lab.datastore_root(datastore) / path
    assert (files / f"{web1}.vmx").exists()
    assert vmops("destroy", "web1", "--yes").code == 0
    assert not files.exists()
    assert "web1" not in vmops("list", "-o", "name").out.split()


@pytest.fixture(scope="module")
def listed(vmops: Command) -> list[str]:
    for name in ("list-b", "list-a"):
        assert spawn(vmops, name, "--no-power-on").code == 0
    return ["list-a", "list-b"]


class TestList:
    columns = ("name", "status", "cpus", "memory_mib", "addresses", "host", "uuid")

    def test_table(self, vmops: Command, listed: list[str]) -> None:
        head, *rows = vmops("list").out.splitlines()
        assert head.split("  ")[0] == "NAME"
        assert [row.split()[0] for row in rows if row.startswith("list-")] == listed
        assert "\x1b" not in head

    def test_json(self, vmops: Command, listed: list[str]) -> None:
        rows = {row["name"]: row for row in vmops("list", "-o", "json").json}
        assert rows["list-a"]["memory_mib"] == 16
        assert rows["list-a"]["addresses"] == []
        assert tuple(rows["list-a"])[:7] == self.columns

    def test_jsonl(self, vmops: Command, listed: list[str]) -> None:
        rows = [json.loads(line) for line in vmops("list", "-o", "jsonl").out.splitlines()]
        assert set(listed) <= {row["name"] for row in rows}

    def test_yaml(self, vmops: Command, listed: list[str]) -> None:
        rows = yaml.safe_load(vmops("list", "-o", "yaml").out)
        assert set(listed) <= {row["name"] for row in rows}

    def test_csv(self, vmops: Command, listed: list[str]) -> None:
        rows = list(csv.DictReader(io.StringIO(vmops("list", "-o", "csv").out)))
        assert tuple(rows[0])[:7] == self.columns
        assert rows[0]["addresses"] == ""

    def test_name(self, vmops: Command, listed: list[str]) -> None:
        assert set(listed) <= set(vmops("list", "-o", "name").out.split())

    def test_columns_and_order(self, vmops: Command, listed: list[str]) -> None:
        out = vmops("list", "--columns", "name,status", "--sort-by", "name", "--no-headers").out
        assert ["list-a", "off"] in [line.split() for line in out.splitlines()]

    def test_none_of_a_status(self, vmops: Command, listed: list[str]) -> None:
        none = vmops("list", "--status", "suspended")
        assert (none.code, none.out, none.err) == (0, "", "No instance is suspended.\n")
        assert vmops("list", "--status", "suspended", "-o", "json").json == []

    def test_an_unknown_column(self, vmops: Command, listed: list[str]) -> None:
        for options in (["--columns", "name,nothing"], ["--sort-by", "nothing"]):
            wrong = vmops("list", *options)
            assert wrong.code == 2
            assert "There is no column 'nothing'. Columns: name," in wrong.err


def test_a_uuid_is_as_good_as_a_name(vmops: Command) -> None:
    uuid = spawn(vmops, "by-uuid", "--no-power-on").out.strip()
    assert vmops("show", uuid.upper(), "-o", "name").out == "by-uuid\n"
    assert vmops("destroy", "-y", uuid).err.splitlines()[-1] == f"{uuid}: destroyed"
    again = vmops("destroy", "-y", uuid)
    assert again.code == 0
    assert again.err == f"{uuid}: was not there\n"


def test_keep_disks_leaves_the_files(vmops: Command, lab: Lab) -> None:
    uuid = spawn(vmops, "kept", "--no-power-on").out.strip()
    assert vmops("destroy", "-y", "--keep-disks", "kept").code == 0
    kept = [p for name in ("datastore1", "datastore2") for p in lab.datastore_root(name).iterdir()]
    assert uuid in {path.name for path in kept}


def test_a_screenshot_and_the_log(vmops: Command, tmp_path: Path) -> None:
    spawn(vmops, "seen")
    picture = tmp_path / "seen.png"
    taken = vmops("screenshot", "seen", "-O", str(picture))
    assert taken.out == f"{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [picture]
    assert vmops("log", "seen").code == 0


def test_options_may_stand_behind_the_command(vmops: Command) -> None:
    assert "CreateContainerView" in vmops("list", "-vv").err
    assert vmops("list", "--url", "http://nowhere").code == 2
    assert vmops("image", "list", "--progress", "none").code == 0


def test_wait_gives_up_in_time_and_leaves_the_instance(vmops: Command) -> None:
    late = spawn(vmops, "late", "--wait", "--wait-for", "never", "--timeout", "0.2")
    assert late.code == 6
    assert "The instance runs on; see: vmops log late" in late.err
    assert vmops("show", "late", "-o", "json").json["status"] == "running"


def test_environment(vmops: Command, lab: Lab) -> None:
    rows = {row["name"]: row for row in vmops("env", "-o", "json").json}
    assert rows["url"] == {"name": "url", "value": lab.url, "origin": "VMOPS_URL"}
    assert rows["password"]["value"] == "(set)"


def test_govc_variables_work(vmops: Command, lab: Lab, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"{lab.url.split('/')[2]} {lab.thumbprint}\n")
    address = lab.url.replace("//", f"//{lab.username}:{lab.password}@")
    gone = dict.fromkeys(name for name in vmops.env if name != "VMOPS_STATE_DIR")
    govc = vmops.with_env(
        **gone,
        GOVC_URL=address,
        GOVC_TLS_KNOWN_HOSTS=str(known),
        GOVC_DATASTORE="/lab/datastore/datastore2",
        GOVC_NETWORK="/lab/network/VM Network",
    )
    assert govc("list").code == 0
    assert spawn(govc, "of-govc", "--no-power-on").code == 0
    shown = govc("show", "of-govc", "-o", "json").json
    assert shown["folder"].startswith("[datastore2]")
    assert shown["nics"][0].endswith(" VM Network")


def test_what_tells_something_is_for_its_owner_alone(vmops: Command, web1: str) -> None:
    assert vmops("list").code == 0
    state = Path(vmops.env["VMOPS_STATE_DIR"])
    (names,) = state.rglob("instance-names.json")
    assert names.stat().st_mode & 0o777 == 0o600


def test_an_unchecked_certificate_is_warned_of(vmops: Command) -> None:
    unpinned = vmops.with_env(VMOPS_THUMBPRINT=None)
    listed = unpinned("--insecure", "list", "-o", "json")
    assert listed.code == 0
    assert listed.err.count("Warning: the server's certificate is not checked") == 1
    assert "Warning" not in vmops("--insecure", "list").err  # it is pinned
