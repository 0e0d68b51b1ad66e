"""Which remote calls there are to fail, and what is checked after each.

The tables are those of a good run, which `test_the_table_is_that_of_a_good_run` compares; the calls
of the session's stream are left out, because their number depends on the moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from tests.backends.files import TEMPORARY
from tests.backends.lab import LabBackend
from tests.builders import an_instance
from tests.contract.engine import Bench
from vmops import Instance
from vmops.errors import ConnectionLost, VMOpsError
from vmops.lab import Lab
from vmops.lab.wire.failures import Failure, How

STREAM = {"WaitForUpdatesEx", "ModifyListView"}
PURPOSE = "a failure on purpose"

_BEGIN = ["FindAllByUuid", "HEAD /folder", "CreateVM_Task"]
_LOOK = ["HEAD /folder"]
_SIZED = ["CopyVirtualDisk_Task", "ExtendVirtualDisk_Task"]
_MOVED = ["MoveDatastoreFile_Task"]
_END = ["ReconfigVM_Task", "PowerOnVM_Task"]
_FILL = {
    "flat": ["MakeDirectory", "CreateVirtualDisk_Task", "DeleteDatastoreFile_Task", "PUT /folder"],
    "sparse": ["MakeDirectory", "PUT /folder", "CopyVirtualDisk_Task", "DeleteDatastoreFile_Task"],
    "streamOptimized": [
        "MakeDirectory",
        "ImportVApp",
        "POST /nfc",
        "HttpNfcLeaseComplete",
        "RetrievePropertiesEx",
        "MoveVirtualDisk_Task",
        "Destroy_Task",
    ],
}


def spawn_calls(way: str, linked: bool) -> list[str]:
    """The calls of a spawn of an image that is not cached, to a bigger disk."""
    rest = [*_SIZED, *_MOVED] if linked else [*_MOVED, *_SIZED]
    look = [*_LOOK, *_LOOK] if linked else _LOOK
    return [*_BEGIN, *look, *_FILL[way], *rest, *_END]


def failures(calls: Iterable[str]) -> Iterator[Failure]:
    """Each call failing in each way that it can."""
    seen: Counter[str] = Counter()
    for call in calls:
        seen[call] += 1
        for how in (How.REFUSED, How.TASK_FAILS, How.LOST_BEFORE, How.LOST_AFTER):
            if how is not How.TASK_FAILS or call.endswith("_Task"):
                yield Failure(call=call, how=how, nth=seen[call])


def parameters(calls: Iterable[str]) -> list[object]:
    """`failures` with names that a person can read."""
    return [
        pytest.param(failure, id=f"{failure.call}#{failure.nth}-{failure.how.replace(' ', '_')}")
        for failure in failures(calls)
    ]


def spawn_parameters(way: str) -> list[object]:
    """Those of both kinds of clones: (linked, failure)."""
    found: list[object] = []
    for linked in (True, False):
        for failure in failures(spawn_calls(way, linked)):
            name = f"{failure.call}#{failure.nth}-{failure.how.replace(' ', '_')}"
            kind = "linked" if linked else "full"
            found.append(pytest.param(linked, failure, id=f"{kind}-{name}"))
    return found


# What is asked again if no answer came, or found to have happened.
REPEATED = {"HEAD /folder", "FindAllByUuid", "RetrievePropertiesEx", "HttpNfcLeaseComplete"}


def check_spawn(bench: Bench, way: str, *, linked: bool, failure: Failure) -> None:
    """Spawn with one call failing: all or nothing, and the first error is what is raised."""
    lab = lab_of(bench)
    before = bench.world()
    instance = an_instance(root_gib=1)
    error = attempt(bench, instance, way, linked=linked, failure=failure)
    assert lab.failures.calls().count(failure.call) >= failure.nth, "the call was not made"
    lab.failures.clear()
    if error is None:
        assert failure.call in REPEATED, "a failure went unnoticed"
        assert failure.how in (How.LOST_BEFORE, How.LOST_AFTER)
        assert bench.power(instance) == "poweredOn"
        bench.ops.destroy(instance, None)
    else:
        check_error(error, failure)
        if failure.how is How.LOST_AFTER:
            bench.ops.destroy(instance, None)
    assert bench.vms() == before[0]
    check_files(bench, before[1])


def check_table(bench: Bench, way: str, *, linked: bool) -> None:
    """The table names the calls of a good run, in order."""
    lab_of(bench).failures.plan()
    bench.spawn(way, instance=an_instance(root_gib=1), linked_clone=linked)
    calls = [call for call in lab_of(bench).failures.calls() if call not in STREAM]
    assert without_repetition(calls) == spawn_calls(way, linked)


def without_repetition(calls: list[str]) -> list[str]:
    """The calls without a read after the same one: waiting for a lease asks until it is ready."""
    return [
        call
        for call, last in zip(calls, ["", *calls[:-1]], strict=True)
        if (call, last) != ("RetrievePropertiesEx",) * 2
    ]


def attempt(
    bench: Bench, instance: Instance, way: str, *, linked: bool, failure: Failure
) -> VMOpsError | None:
    """The error of a spawn in which one call fails."""
    lab_of(bench).failures.plan(failure)
    try:
        bench.spawn(way, instance=instance, linked_clone=linked)
    except VMOpsError as error:
        return error
    return None


def check_error(error: VMOpsError, failure: Failure) -> None:
    """The error tells of the failure, not of what came after it."""
    if failure.how in (How.LOST_BEFORE, How.LOST_AFTER):
        assert isinstance(error, ConnectionLost), repr(error)
    elif "/" in failure.call:
        assert "500" in str(error), repr(error)
    else:
        assert PURPOSE in str(error), repr(error)
    check_undone(error)


def check_undone(error: BaseException) -> None:
    """Everything could be taken back: there is no note that something could not."""
    notes = getattr(error, "__notes__", [])
    assert [note for note in notes if note.startswith("Could not")] == []


def check_files(bench: Bench, before: dict[str, int]) -> None:
    """Nothing is left but whole entries of the cache."""
    cache = f"[{bench.backend.datastore}] {bench.backend.cache_folder}"
    left = {path: size for path, size in bench.tree().items() if path not in before}
    assert set(before) <= set(bench.tree())
    strange = [path for path in left if not path.startswith(cache) or TEMPORARY in path]
    assert strange == []
    for path in left:
        if path.endswith("-flat.vmdk"):
            name = path.partition("] ")[2]
            digest = bench.head_digest(bench.root() / name)
            assert digest == bench.image_digest(), f"{path} is not whole"


def lab_of(bench: Bench) -> Lab:
    assert isinstance(bench.backend, LabBackend)
    return bench.backend.lab
