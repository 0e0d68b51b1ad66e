"""Operations that change an instance and can be taken back: what is compared, and how they die."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.contract.engine import Bench
from tests.faults import matrix
from vmops import Instance, VMwareVMOps
from vmops.errors import VMOpsError
from vmops.lab.wire.failures import Failure, How

NOTES = ("vmops.rescue", "vmops.resize", "vmops.paused", "efi.quickBoot.enabled")


def facts(bench: Bench, instance: Instance) -> dict[str, Any]:
    """What an instance is, by the second view; equal before and after what was taken back."""
    vm = bench.vm(instance)
    config = second_view.properties(vm, "config")["config"]
    extra = {option.key: option.value for option in config.extraConfig}
    disks = [
        (d.controllerKey, d.unitNumber, d.backing.fileName, d.capacityInKB)
        for d in second_view.devices(vm, vim.vm.device.VirtualDisk)
    ]
    cache = f"[{bench.backend.datastore}] {bench.backend.cache_folder}"
    return {
        "power": bench.power(instance),
        "cpus": (config.hardware.numCPU, config.hardware.numCoresPerSocket),
        "memory": config.hardware.memoryMB,
        "allocations": (config.cpuAllocation.limit, config.memoryAllocation.reservation),
        "disks": disks,
        "boot": [str(entry) for entry in config.bootOptions.bootOrder],
        "notes": {key: extra[key] for key in NOTES if extra.get(key)},
        "files": {path for path in bench.tree() if not path.startswith(cache)},
    }


def facts_and_snapshots(bench: Bench, instance: Instance) -> dict[str, Any]:
    """What an instance is, without the list of snapshots that vSphere keeps once there was one."""
    found = facts(bench, instance)
    tree = second_view.properties(bench.vm(instance), "snapshot").get("snapshot")
    kept = {path for path in found["files"] if not path.endswith(".vmsd")}
    return {**found, "files": kept, "snapshots": tree and tree.rootSnapshotList}


def failing(bench: Bench, failure: Failure, do: Callable[[], None]) -> VMOpsError | None:
    """Do something with one call failing, and give the error."""
    lab = matrix.lab_of(bench)
    lab.failures.plan(failure)
    found = None
    try:
        do()
    except VMOpsError as error:
        found = error
        matrix.check_error(error, failure)
    finally:
        calls = lab.failures.calls()
        lab.failures.clear()
    assert calls.count(failure.call) >= failure.nth, f"the call was not made, only {calls}"
    if found is None:
        assert failure.call in {*matrix.REPEATED, "HEAD /folder"}, "a failure went unnoticed"
        assert failure.how in (How.LOST_BEFORE, How.LOST_AFTER)
    return found


def without_looks(calls: list[str]) -> list[str]:
    """The calls without reads after a task: on a busy machine, the stream is late to tell of it."""
    return [
        call
        for call, last in zip(calls, ["", *calls[:-1]], strict=True)
        if call != "RetrievePropertiesEx" or not last.endswith(("_Task", "Ex"))
    ]


def calls_of(bench: Bench, do: Callable[[], object]) -> list[str]:
    """The calls of a good run, in order."""
    lab = matrix.lab_of(bench)
    lab.failures.plan()
    do()
    calls = [call for call in lab.failures.calls() if call not in matrix.STREAM]
    lab.failures.clear()
    return calls


class Died(BaseException):
    """The process is gone: nothing that it would still do reaches the server."""


@contextmanager
def dying(bench: Bench, at: int) -> Iterator[VMwareVMOps]:
    """An engine of a session of its own that dies instead of its SOAP call of this number.

    It has its inventory loaded, as an engine that has worked for a while.
    """
    with bench.backend.connect() as session:
        session.inventory.wait_fresh()
        real, exchange, made = session.client.call, session.http.exchange, [0]

        def call(moref: Any, method: str, **arguments: Any) -> Any:
            if method not in matrix.STREAM and not looks_at_tasks(arguments):
                made[0] += 1
                if made[0] >= at:
                    raise Died
            return real(moref, method, **arguments)

        def no_exchange(*arguments: Any, **options: Any) -> Any:
            if made[0] >= at:
                raise Died
            return exchange(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session.client, "call", call)
            patch.setattr(session.http, "exchange", no_exchange)
            yield bench.engine(session=session)


def looks_at_tasks(arguments: dict[str, Any]) -> bool:
    """Whether a call asks what became of tasks, which depends on the moment."""
    specs = arguments.get("specSet") or ()
    return any(each.type is vim.Task for spec in specs for each in spec.propSet)


def die(bench: Bench, at: int, do: Callable[[VMwareVMOps], None]) -> bool:
    """Whether an engine died while it did something; False if it has no call of this number."""
    with dying(bench, at) as ops:
        try:
            do(ops)
        except Died:
            return True
    return False
