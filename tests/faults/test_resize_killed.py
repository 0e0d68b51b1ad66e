"""A process that resizes is killed; another one, with a session of its own, ends the resize."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.engine import Bench
from tests.faults import changing, matrix, resizing
from tests.faults.test_resize import FLAVOR, check_confirmed
from vmops import Instance, VMwareVMOps

PROJECT = Path(__file__).parents[2]
COPYING = "Copy the root disk, and let the copy grow"
CHANGING = "Change the size, and exchange the root disk"
STARTING = "Power on"


def kill(bench: Bench, instance: Instance, moment: str) -> None:
    """Resize in a process that is killed at this moment."""
    lab = matrix.lab_of(bench)
    environment = os.environ | {
        "VMOPS_TEST_URL": lab.url,
        "VMOPS_TEST_USERNAME": lab.username,
        "VMOPS_TEST_PASSWORD": lab.password,
        "VMOPS_TEST_THUMBPRINT": lab.thumbprint,
    }
    flavor = (FLAVOR.vcpus, FLAVOR.memory_mib, FLAVOR.root_gib)
    command = [sys.executable, "-c", resizing.PROGRAM, instance.uuid, moment, *map(str, flavor)]
    process = subprocess.run(command, cwd=PROJECT, env=environment, timeout=120, check=False)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def other(bench: Bench) -> Iterator[VMwareVMOps]:
    with bench.backend.connect() as session:
        yield bench.engine(session=session)


@pytest.mark.parametrize(
    "moment",
    [COPYING, CHANGING, resizing.AFTER_MIGRATE, STARTING, resizing.AFTER_FINISH],
)
def test_another_process_reverts(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    kill(bench, instance, moment)
    other.finish_revert_migration(instance, None)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("moment", [resizing.AFTER_MIGRATE, STARTING, resizing.AFTER_FINISH])
def test_another_process_confirms(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    kill(bench, instance, moment)
    other.finish_migration(None, None, instance, None, None, None, True)
    other.confirm_migration(None, instance, None)
    check_confirmed(bench, instance)
