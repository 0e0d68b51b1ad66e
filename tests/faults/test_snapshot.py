"""Snapshot, failing or dying at each of its calls, both ways that a disk takes to the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyVmomi import vmodl

from tests.contract.engine import Bench
from tests.faults import changing, matrix
from vmops import DirectoryImageStore, VMwareVMOps
from vmops.errors import ConnectionLost, VMOpsError
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.nfc_lease import HttpNfcLease
from vmops.lab.wire.failures import Failure, How

EXPORT = [
    "RetrievePropertiesEx",
    "CreateSnapshot_Task",
    "ExportSnapshot",
    "GET /nfc",
    "HttpNfcLeaseComplete",
    "RemoveSnapshot_Task",
]
COPY = [
    "RetrievePropertiesEx",
    "CreateSnapshot_Task",
    "ExportSnapshot",
    "MakeDirectory",
    "CopyVirtualDisk_Task",
    "GET /folder",
    "DeleteDatastoreFile_Task",
    "RemoveSnapshot_Task",
]
NO_EXPORT = Failure(call="ExportSnapshot", how=How.REFUSED, nth=0, fault=vmodl.fault.NotSupported())
_LATE = [
    Failure(call="CreateSnapshot_Task", how=How.LOST_AT_ONCE),
    Failure(call="RemoveSnapshot_Task", how=How.LOST_AT_ONCE),
]
EXPORT_FAILURES = [*matrix.failures(EXPORT), *_LATE]
# In the copy's run the export is always refused; how else it fails is in the other run.
COPY_FAILURES = [each for each in matrix.failures(COPY) if each.call != "ExportSnapshot"]


def named(failures: list[Failure]) -> list[object]:
    return [
        pytest.param(one, id=f"{one.call}#{one.nth}-{one.how.replace(' ', '_')}")
        for one in failures
    ]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryImageStore:
    return DirectoryImageStore(tmp_path / "made")


def files_of(store: DirectoryImageStore) -> list[str]:
    return [f.name for f in store.directory.iterdir()] if store.directory.exists() else []


def open_leases(bench: Bench) -> int:
    async def count(kernel: Kernel) -> int:
        registry = kernel.registry
        leases = registry.all(HttpNfcLease)
        open_states = {"initializing", "ready"}
        # Exports only: other tests on this lab may leave an import to its expiry.
        return sum(lease.mode == "pull" and lease.state in open_states for lease in leases)

    return matrix.lab_of(bench).on_loop(count)


def check_all_or_nothing(
    bench: Bench, store: DirectoryImageStore, *planned: Failure, failure: Failure
) -> None:
    """Either the image is there or nothing is; and the snapshot's traces never are."""
    instance = bench.spawn()
    before = changing.facts_and_snapshots(bench, instance)
    ops, lab = bench.engine(images=store), matrix.lab_of(bench)
    lab.failures.plan(failure, *planned)
    error = None
    try:
        ops.snapshot(None, instance, "made", lambda **_: None)
    except VMOpsError as raised:
        error = raised
        if failure.how is How.LOST_AT_ONCE:
            assert isinstance(error, ConnectionLost)
            matrix.check_undone(error)
        else:
            matrix.check_error(error, failure)
    calls = lab.failures.calls()
    lab.failures.clear()
    assert calls.count(failure.call) >= failure.nth, f"the call was not made, only {calls}"
    assert changing.facts_and_snapshots(bench, instance) == before
    assert open_leases(bench) == 0
    if error is None:
        assert failure.how not in (How.REFUSED, How.TASK_FAILS), "unnoticed"
        # Of a download all bytes may have come before the connection was lost.
        happened = {"GET /folder", "GET /nfc"} if failure.how is How.LOST_AFTER else set()
        assert failure.call in {*matrix.REPEATED, *happened, "RemoveSnapshot_Task"}, "unnoticed"
        assert store.get("made").capacity_bytes == len(bench.images.disk)
    else:
        assert files_of(store) == []
        ops.snapshot(None, instance, "made", lambda **_: None)
    assert changing.facts_and_snapshots(bench, instance) == before


@pytest.mark.parametrize("failure", named(EXPORT_FAILURES))
def test_an_export_that_fails_leaves_nothing(
    bench: Bench, store: DirectoryImageStore, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease whose reference got lost holds the snapshot until it expires, here soon."""
    monkeypatch.setattr(HttpNfcLease, "timeout_s", 2)
    check_all_or_nothing(bench, store, failure=failure)


@pytest.mark.parametrize("failure", named(COPY_FAILURES))
def test_a_copy_that_fails_leaves_nothing(
    bench: Bench, store: DirectoryImageStore, failure: Failure
) -> None:
    check_all_or_nothing(bench, store, NO_EXPORT, failure=failure)


def test_the_tables_are_those_of_good_runs(bench: Bench, store: DirectoryImageStore) -> None:
    instance, ops = bench.spawn(), bench.engine(images=store)
    lab = matrix.lab_of(bench)
    for name, planned, wanted in (("one", [], EXPORT), ("two", [NO_EXPORT], COPY)):
        lab.failures.plan(*planned)
        ops.snapshot(None, instance, name, lambda **_: None)
        calls = [call for call in lab.failures.calls() if call not in matrix.STREAM]
        lab.failures.clear()
        assert without_reads(calls) == without_reads(wanted)


def without_reads(calls: list[str]) -> list[str]:
    """The calls that change something: a task may be looked at when the stream is late."""
    return [call for call in calls if call != "RetrievePropertiesEx"]


@pytest.mark.parametrize("at", range(1, len([call for call in EXPORT if "/" not in call]) + 1))
def test_an_instance_whose_snapshot_died_is_destroyed_whole(
    bench: Bench, store: DirectoryImageStore, at: int
) -> None:
    instance = bench.spawn()

    def snapshot(ops: VMwareVMOps) -> None:
        ops._images = store
        ops.snapshot(None, instance, "made", lambda **_: None)

    assert changing.die(bench, at, snapshot)
    assert [name for name in files_of(store) if name.endswith(".yaml")] in ([], ["made.yaml"])
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]
