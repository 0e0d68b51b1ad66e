"""`vmops audit`: what operations are at, whose it is, and whether it is left behind."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.builders import a_uuid
from tests.cli.conftest import Command, spawn
from tests.faults.living import AROUND, LEASE_S, Work, held, permitted
from tests.marks import ELSEWHERE, mark_of
from vmops import in_flight
from vmops.lab import Lab, LabSettings


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight.TIMING, "lease_s", LEASE_S)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One that takes its time."""
    settings = LabSettings(
        state_dir=tmp_path_factory.mktemp("lab"), hypervisor="none", task_delay_s=0.4
    )
    with Lab.run(settings) as running:
        yield running


@pytest.fixture
def vmops(lab: Lab, boot_sector: Path, tmp_path: Path) -> Command:
    command = Command(
        {
            "VMOPS_STATE_DIR": str(tmp_path),
            "VMOPS_URL": lab.url,
            "VMOPS_USERNAME": lab.username,
            "VMOPS_PASSWORD": lab.password,
            "VMOPS_THUMBPRINT": lab.thumbprint,
        }
    )
    assert command("image", "add", str(boot_sector), "--name", "small").code == 0
    return command


def write(lab: Lab, name: str, *texts: str, until: threading.Event | None = None) -> None:
    """Mark a machine as another process would, again and again if there is an event to wait for."""
    context = ssl.create_default_context(cafile=lab.certificate_file)
    with second_view.logged_in(lab.url, lab.username, lab.password, context) as content:
        there = second_view.every(content, vim.VirtualMachine, "name")
        (vm,) = (moref for moref, found in there.items() if found["name"] == name)
        while True:
            text = texts[0] if texts else mark_of("resize")
            option = vim.option.OptionValue(key="vmops.worker", value=text)
            second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[option])))
            if until is None or until.wait(0.1):
                return


@contextmanager
def renewing(lab: Lab, name: str) -> Iterator[None]:
    """Somebody elsewhere is at work on it, and lives."""
    write(lab, name)
    ended = threading.Event()
    thread = threading.Thread(target=write, args=(lab, name), kwargs={"until": ended})
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("years", [-1, 1])
def test_a_mark_of_an_unknown_owner_is_watched_and_then_free(
    vmops: Command, lab: Lab, years: int
) -> None:
    """Whatever date stands in it: nobody's clock is asked."""
    assert spawn(vmops, "web1", "--no-power-on").code == 0
    then = datetime.now(UTC) + timedelta(days=365 * years)
    write(lab, "web1", f"resize deadbeef-deadbeef-77-12345 {then:%Y-%m-%dT%H:%M:%SZ}")
    refused = vmops("rescue", "web1", "--image", "small")
    assert refused.code == 4
    assert "web1 is busy: resize is under way, by deadbeef-deadbeef-77-12345; " in refused.err
    assert "vmops audit --fix --owner deadbeef-deadbeef-77-12345" in refused.err
    fixed = vmops("audit", "--fix", "-o", "json")
    assert fixed.code == 0, fixed.err
    assert "cannot be judged at once; watching for 4 s at most." in fixed.err
    (row,) = fixed.json
    assert (row["name"], row["kind"]) == ("web1", "interrupted resize")
    assert (row["owner"], row["operation"]) == ("deadbeef-deadbeef-77-12345", "resize")
    assert row["left"] is True
    assert row["seen_s"] >= 1
    assert "was not renewed for" in row["why"]
    assert vmops("rescue", "web1", "--image", "small").code == 0


def test_what_is_not_judged_yet_is_told_and_left_alone(vmops: Command, lab: Lab) -> None:
    assert spawn(vmops, "web1", "--no-power-on").code == 0
    text = mark_of("resize")
    write(lab, "web1", text)
    for more in ((), ("--fix",)):
        found = vmops("audit", "--no-wait", *more, "-o", "json")
        assert found.code == 0
        assert [row["left"] for row in found.json] == [False]
        assert found.json[0]["why"].startswith("seen for ")
        in_flight.watch.WATCH.restart(text)
    assert vmops("audit").code == 7
    assert vmops("audit", "--no-wait", "--wait", "9").code == 2


def test_what_lives_elsewhere_is_left_alone(vmops: Command, lab: Lab) -> None:
    assert spawn(vmops, "web1", "--no-power-on").code == 0
    with renewing(lab, "web1"):
        found = vmops("audit", "--fix")
        assert found.code == 0, found.err
        assert "interrupted resize  no    it was renewed just now" in found.out
        assert ELSEWHERE in found.out
        assert vmops("destroy", "web1", "--yes").code == 4


def test_an_owner_that_is_known_to_be_dead(vmops: Command, lab: Lab) -> None:
    assert spawn(vmops, "web1", "--no-power-on").code == 0
    assert spawn(vmops, "web2", "--no-power-on").code == 0
    write(lab, "web1", mark_of("rescue"))
    write(lab, "web2", mark_of("rescue", "ba9876543210-ba9876543210-4711-99"))
    assert vmops("rescue", "web2", "--image", "small").code == 4
    fixed = vmops("audit", "--no-wait", "--fix", "--owner", ELSEWHERE, "-o", "json")
    assert fixed.code == 0
    assert {row["name"]: row["left"] for row in fixed.json} == {"web1": True, "web2": False}
    assert "Removed 1." in fixed.err
    assert vmops("rescue", "web1", "--image", "small").code == 0


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_a_spawn_that_lives_elsewhere_is_left_alone_and_succeeds(
    vmops: Command, lab: Lab, around: tuple[str, ...]
) -> None:
    permitted(around)
    images = Path(vmops.env["VMOPS_STATE_DIR"]) / "images"
    work = Work(do="spawn", held_at="Attach the disks", uuid=a_uuid(), images=str(images))
    with held(lab, replace(work, image="small"), *around) as worker:
        for _ in range(2):
            found = vmops("audit", "--fix", "--wait", f"{2 * LEASE_S}", "-o", "json")
            assert found.code == 0, found.err
            assert [(row["kind"], row["left"]) for row in found.json] == [
                ("unfinished spawn", False)
            ]
            assert found.json[0]["why"] == "it was renewed just now"
        assert worker.go_on() == {}
    assert vmops("audit").err == "Nothing is left behind.\n"
    assert vmops("list", "-o", "json").json[0]["status"] == "running"
