"""Snapshot, rescue and resize on a datastore that has become full: all is as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import MEMORY_MIB
from tests.contract.engine import Bench
from tests.faults import changing, matrix
from tests.faults.test_interruptions import FILLERS, MIB, fill, small  # noqa: F401 - a fixture
from tests.faults.test_snapshot import NO_EXPORT, files_of
from vmops import DirectoryImageStore, Flavor, Instance, VMwareVMOps
from vmops.errors import NoDiskSpace

BIGGER = Flavor(vcpus=2, memory_mib=MEMORY_MIB, root_gib=1)


def rescue(ops: VMwareVMOps, instance: Instance) -> None:
    ops.rescue(None, instance, None, "flat")


def resize(ops: VMwareVMOps, instance: Instance) -> None:
    ops.migrate_disk_and_power_off(None, instance, "", BIGGER)


def snapshot(ops: VMwareVMOps, instance: Instance) -> None:
    ops.snapshot(None, instance, "made", lambda **_: None)


@pytest.mark.parametrize("do", [rescue, resize, snapshot])
def test_it_fails_with_nothing_changed_and_is_done_when_there_is_room(
    small: Bench,  # noqa: F811
    tmp_path: Path,
    do: Callable[[VMwareVMOps, Instance], None],
) -> None:
    instance = small.spawn(linked_clone=False)
    lab = matrix.lab_of(small)
    before = changing.facts(small, instance)
    store = DirectoryImageStore(tmp_path / "made")
    ops = small.engine(images=store) if do is snapshot else small.ops
    fill(small, leave=MIB // 4)
    filled = changing.facts(small, instance)
    lab.failures.plan(NO_EXPORT)  # so that a snapshot's disk is copied on the datastore
    with pytest.raises(NoDiskSpace, match="datastore1") as failed:
        do(ops, instance)
    matrix.check_undone(failed.value)
    found = changing.facts(small, instance)
    assert without_list(found) == without_list(filled)
    assert files_of(store) == []
    small.session.file_manager.delete(FILLERS)
    assert without_list(changing.facts(small, instance)) == without_list(before)
    if do is not resize:  # a root disk of 1 GiB never has room here
        do(ops, instance)


def without_list(facts: dict[str, object]) -> dict[str, object]:
    """Without the list of snapshots, which vSphere keeps once there was one."""
    files = facts["files"]
    assert isinstance(files, set)
    return {**facts, "files": {path for path in files if not path.endswith(".vmsd")}}
