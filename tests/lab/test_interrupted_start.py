"""A start that is interrupted leaves no lab behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vmops.lab import LabSettings, daemon
from vmops.lab.state import running_pid


@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 1.6])
def test_a_start_that_says_interrupted_left_no_lab(tmp_path: Path, after_s: float) -> None:
    folder = tmp_path / "lab"
    command = [sys.executable, "-m", "vmops.cli.main", "lab", "start", "--no-guests"]
    environment = {**os.environ, "VMOPS_STATE_DIR": str(folder)}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    time.sleep(after_s)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=90)[1]
    settings = LabSettings(state_dir=folder / "lab", hypervisor="none")
    runs = settings.state_dir.exists() and running_pid(settings) is not None
    try:
        assert runs == (process.returncode == 0), said
        assert runs == ("answers at" in said), said
    finally:
        if runs:
            daemon.stop(settings)
