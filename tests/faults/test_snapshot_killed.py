"""A process that makes an image of an instance is killed; what it left is found and removed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.contract.engine import Bench
from tests.faults import killing
from tests.faults.changing import facts_and_snapshots as facts
from tests.faults.killing import MID_TRANSFER, Doom, after
from vmops import DirectoryImageStore
from vmops.errors import Conflict
from vmops.lab.machine.nfc_lease import HttpNfcLease
from vmops.ops.instances import leftovers, recovery

LEASE_S = 2


def sweep(bench: Bench) -> list[str]:
    """Remove what is left behind, also what a lease that nobody serves holds until it expires."""
    found = recovery.find_leftovers(bench.session, bench.settings)
    end = time.monotonic() + 10 * LEASE_S
    for one in found:
        while True:
            try:
                leftovers.remove_leftover(bench.session, one)
                break
            except Conflict:
                assert time.monotonic() < end
                time.sleep(0.1)
    return [one.kind for one in found]


@pytest.mark.parametrize(
    "moment",
    [
        "Create the snapshot",
        "Upload the disk to the image store",
        MID_TRANSFER,
        "Delete the snapshot",
        after("snapshot"),
    ],
)
def test_its_snapshot_is_found_and_removed(
    bench: Bench, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is whole or not there, and the instance is as it was."""
    monkeypatch.setattr(HttpNfcLease, "timeout_s", LEASE_S)
    instance, store = bench.spawn(), DirectoryImageStore(tmp_path / "made")
    before = facts(bench, instance)
    doom = Doom(uuid=instance.uuid, do=("snapshot",), moment=moment, images=str(store.directory))
    killing.kill(bench.control, doom)
    is_left = moment not in {"Create the snapshot", after("snapshot")}
    assert sweep(bench) == (["unfinished snapshot"] if is_left else [])
    assert recovery.find_leftovers(bench.session, bench.settings) == []
    assert facts(bench, instance) == before
    is_made = moment in {"Delete the snapshot", after("snapshot")}
    assert [image.name for image in store.list()] == (["made"] if is_made else [])
    bench.engine(images=store).snapshot(None, instance, "again", lambda **_: None)
    assert facts(bench, instance) == before
    assert not [file for file in store.directory.iterdir() if file.suffix == ".part"]


def test_the_snapshot_of_a_living_process_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    instance = bench.spawn()
    found: list[leftovers.Leftover] = []

    def look(*, task_state: str, expected_state: str | None = None) -> None:
        found.extend(recovery.find_leftovers(bench.session, bench.settings))

    store = DirectoryImageStore(tmp_path / "made")
    bench.engine(images=store).snapshot(None, instance, "made", look)
    assert found == []
