"""The lab as a background process."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vmops.lab import Lab, LabSettings, daemon
from vmops.lab.daemon import LabDied
from vmops.lab.state import StateError, running_pid

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[LabSettings]:
    made = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    yield made
    daemon.stop(made)


def test_start_status_stop(settings: LabSettings) -> None:
    assert daemon.status(settings) is None
    assert not daemon.stop(settings)
    endpoint = daemon.start(settings)
    assert daemon.status(settings) == endpoint
    assert daemon.start(settings) == endpoint
    assert endpoint.user_name == "administrator@vsphere.local"
    command = Path(f"/proc/{endpoint.pid}/cmdline").read_text()
    assert "vmops.lab" in command
    assert daemon.stop(settings)
    assert daemon.status(settings) is None
    assert "stopped" in settings.log_file.read_text()
    for told in (command, settings.log_file.read_text(), repr(endpoint)):
        assert endpoint.password not in told


def test_two_starts_at_once_make_one_lab(settings: LabSettings) -> None:
    with ThreadPoolExecutor() as pool:
        started = [pool.submit(daemon.start, settings) for _ in range(3)]
        pids = {each.result().pid for each in started}
    assert len(pids) == 1


def test_a_number_left_by_a_dead_process_is_nobodys(settings: LabSettings) -> None:
    endpoint = daemon.start(settings)
    os.kill(endpoint.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while running_pid(settings) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # The file still names a process, which by now could be anybody: here it is this one.
    assert settings.pid_file.read_text().strip() == str(endpoint.pid)
    settings.pid_file.write_text(f"{os.getpid()}\n")
    assert daemon.status(settings) is None
    assert not daemon.stop(settings)
    again = daemon.start(settings)
    assert (again.url, again.thumbprint) == (endpoint.url, endpoint.thumbprint)
    assert again.pid not in (endpoint.pid, os.getpid())


def test_a_lab_that_dies_says_why(
    settings: LabSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabDied, match="QEMU is not installed"):
        daemon.start(LabSettings(state_dir=settings.state_dir, hypervisor="qemu"))


def test_a_lab_of_this_process_is_not_stopped_by_signal(settings: LabSettings) -> None:
    with Lab.run(settings) as lab:
        endpoint = daemon.status(settings)
        assert endpoint is not None
        assert endpoint.url == lab.url
        with pytest.raises(StateError, match="this process"):
            daemon.stop(settings)


def test_reset(settings: LabSettings) -> None:
    daemon.start(settings)
    daemon.reset(settings)
    assert not settings.state_dir.exists()
    daemon.reset(settings)


def test_reset_deletes_no_strange_folder(settings: LabSettings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / "thesis.txt").write_text("years of work")
    with pytest.raises(StateError, match="not a lab's"):
        daemon.reset(settings)
    assert (settings.state_dir / "thesis.txt").exists()


def test_the_settings_reach_the_process(settings: LabSettings) -> None:
    given = LabSettings(
        state_dir=settings.state_dir,
        esx=True,
        hypervisor="none",
        datastore_capacity_bytes=12345,
        task_delay_s=0.5,
    )
    endpoint = daemon.start(given)
    words = Path(f"/proc/{endpoint.pid}/cmdline").read_text().split("\0")
    assert endpoint.user_name == "root"
    assert {"--esx", "12345", "0.5", "none"} <= set(words)
    daemon.stop(given)
