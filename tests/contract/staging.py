"""Instances brought to a state, cheaply: one that was left as it was serves the next test, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyVmomi import vim, vmodl

from tests.backends import files as files_of
from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import MEMORY_MIB, an_instance
from tests.contract.engine import Bench
from tests.contract.state_methods import VOLUMES, present
from tests.contract.volumes import a_shadow_vm
from tests.faults import changing
from vmops import Flavor, Instance, VMwareVMOps
from vmops.progress import Event, StepStarted

# Its calls are: read, note the resize, power off, change the size.
_DIES_AT = 4
_BIGGER = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB, name="bigger")


@dataclass(frozen=True, slots=True)
class Subject:
    """An instance in its state, and what the second view saw of it then."""

    instance: Instance
    vm: Any
    before: dict[str, Any]


_ROOTS: dict[str, dict[str, Path]] = {}


def _tree(bench: Bench) -> dict[str, int]:
    """All files of all datastores, as `Bench.tree`, without asking for the datastores each time."""
    if bench.backend.url not in _ROOTS:
        found = second_view.every(bench.content, vim.Datastore, "name").values()
        roots = {each["name"]: bench.backend.datastore_root(each["name"]) for each in found}
        _ROOTS[bench.backend.url] = {name: root for name, root in roots.items() if root}
    return {
        f"[{name}] {path}": size
        for name, root in _ROOTS[bench.backend.url].items()
        for path, size in files_of.tree(root).items()
    }


def facts(bench: Bench, vm: Any) -> dict[str, Any]:
    """What an instance is, by the second view; {"power": "gone"} if it is not there."""
    files = {
        path: 0 if path.endswith(".log") else size
        for path, size in _tree(bench).items()
        # vSphere keeps the list of snapshots once there was one, and counts changes in the .vmx.
        if not path.endswith((".vmsd", ".vmx"))
    }
    paths = ("name", "runtime", "config", "snapshot")
    try:
        seen = second_view.retrieve(bench.content, [vm] if vm else [], vim.VirtualMachine, paths)
    except vmodl.fault.ManagedObjectNotFound:
        seen = {}
    if not seen:
        return {"power": "gone", "files": files}
    (found,) = seen.values()
    config, runtime, snapshot = found.get("config"), found["runtime"], found.get("snapshot")
    told = config and {
        "extra": {option.key: option.value for option in config.extraConfig},
        "devices": {device.key: _lines(device) for device in config.hardware.device},
        "size": (config.hardware.numCPU, config.hardware.memoryMB),
        "boot": str(config.bootOptions),
        "annotation": config.annotation,
    }
    return {
        "name": found["name"],
        "power": str(runtime.powerState),
        "reached": runtime.connectionState,
        "booted": str(runtime.bootTime),
        "host": str(runtime.host),
        "snapshots": str(snapshot and snapshot.rootSnapshotList),
        "config": told,
        "files": files,
    }


def _lines(device: Any) -> dict[int, str]:
    """A device line by line; a disk's content has another id after each snapshot."""
    lines = enumerate(str(device).splitlines())
    return {number: line for number, line in lines if "contentId =" not in line}


def changes(before: Any, after: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """What is different, by path."""
    if before == after:
        return {}
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return {path: (before, after)}
    found = {}
    for key in {**before, **after}:
        found.update(changes(before.get(key), after.get(key), f"{path}/{key}"))
    return found


@dataclass
class Stage:
    """Makes instances of every state and keeps those that were not changed."""

    bench: Bench
    kept: dict[str, tuple[Instance, Any]] = field(default_factory=dict)

    def _put_spare_volume(self) -> None:
        if Capability.CONTROL in self.bench.backend.lacks:
            return
        there = VOLUMES.get("spare")
        if there is None or not files_of.local(self.bench.root(), there.path).exists():
            VOLUMES["spare"] = a_shadow_vm(self.bench)

    @contextmanager
    def subject(self, state: str) -> Iterator[Subject]:
        """An instance in this state, for one test; one that is as before is kept for the next."""
        if state not in self.kept:
            made = _MAKE[state](self.bench)
            self.kept[state] = (made, self.bench.vm(made))
        instance, vm = self.kept.pop(state)
        self._put_spare_volume()
        around = _AROUND.get(state, _nothing)
        with around(self.bench, instance, vm):
            before = facts(self.bench, vm)
            yield Subject(instance, vm, before)
            unchanged = not changes(before, facts(self.bench, vm))
        if unchanged:
            self.kept[state] = (instance, vm)
        else:
            left = vm or self.bench.vm(instance)
            if left is not None:
                _remove(left)


def _remove(vm: Any) -> None:
    with suppress(vmodl.fault.ManagedObjectNotFound):
        with suppress(vim.fault.InvalidPowerState):
            second_view.finished(vm.PowerOffVM_Task())
        second_view.finished(vm.Destroy_Task())


def _off(bench: Bench) -> Instance:
    instance = bench.spawn(power_on=False, vifs=[present(bench)])
    if Capability.CONTROL not in bench.backend.lacks:
        volume = VOLUMES[instance.uuid] = a_shadow_vm(bench)
        bench.ops.attach_volume(None, volume.connection, instance)
    return instance


def _running(bench: Bench) -> Instance:
    instance = _off(bench)
    second_view.finished(bench.vm(instance).PowerOnVM_Task())
    return instance


def _suspended(bench: Bench) -> Instance:
    instance = _running(bench)
    second_view.finished(bench.vm(instance).SuspendVM_Task())
    return instance


def _paused(bench: Bench) -> Instance:
    instance = _running(bench)
    bench.ops.pause(instance)
    return instance


def _rescued(bench: Bench) -> Instance:
    instance = _running(bench)
    bench.ops.rescue(None, instance, None, "flat")
    return instance


def _resizing(bench: Bench) -> Instance:
    instance = _running(bench)
    with changing.dying(bench, _DIES_AT) as ops, suppress(changing.Died):
        ops.migrate_disk_and_power_off(None, instance, "", _BIGGER)
    assert bench.power(instance) == "poweredOff"
    assert "preparing" in second_view.extra_config(bench.vm(instance))["vmops.resize"]
    return instance


def _resized(bench: Bench) -> Instance:
    instance = _running(bench)
    bench.ops.migrate_disk_and_power_off(None, instance, "", _BIGGER)
    bench.ops.finish_migration(None, None, instance, None, None, None)
    return instance


_MAKE: dict[str, Callable[[Bench], Instance]] = {
    "off": _off,
    "running": _running,
    "suspended": _suspended,
    "paused": _paused,
    "rescued": _rescued,
    "resizing": _resizing,
    "resized": _resized,
    "destroying": _running,
    "unknown": lambda _: an_instance(),
    "lost": _running,
    "unreadable": _off,
}


class Halted(Exception):
    """An operation that was held ends here, with nothing changed."""


@contextmanager
def held(
    bench: Bench, title: str, do: Callable[[VMwareVMOps], object]
) -> Iterator[threading.Thread]:
    """Do something with an engine of its own that stops before its step ``title``."""
    arrived, free = threading.Event(), threading.Event()

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == title:
            arrived.set()
            free.wait(30.0)
            raise Halted

    ops = bench.engine(observe=observe)

    def work() -> None:
        with suppress(Halted):
            do(ops)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert arrived.wait(10.0), f"{title!r} was never begun"
        yield thread
    finally:
        free.set()
        thread.join()


def _destroying(bench: Bench, instance: Instance, _: Any) -> AbstractContextManager[Any]:
    return held(bench, "Power off", lambda ops: ops.destroy(instance, None))


@contextmanager
def _lost(bench: Bench, instance: Instance, vm: Any) -> Iterator[None]:
    host = second_view.properties(vm, "runtime.host")["runtime.host"]
    second_view.finished(host.DisconnectHost_Task())
    _wait_until_heard(bench, vm, "disconnected")
    try:
        yield
    finally:
        second_view.finished(host.ReconnectHost_Task(cnxSpec=None, reconnectSpec=None))
        _wait_until_heard(bench, vm, "connected")


def _wait_until_heard(bench: Bench, vm: Any, state: str) -> None:
    """Until the session knows what the server knows; it tells at once, but not in the same call."""
    deadline = time.monotonic() + 10.0
    while getattr(bench.session.inventory.vm(vm._GetMoId()), "connection_state", "") != state:
        assert time.monotonic() < deadline, f"the session was never told of {state}"
        time.sleep(0.002)


@contextmanager
def _unreadable(bench: Bench, instance: Instance, vm: Any) -> Iterator[None]:
    """Take its folder away, as when the datastore is gone."""
    folder = bench.root() / instance.uuid
    away = folder.with_name("away")
    folder.rename(away)
    vm.RefreshStorageInfo()
    _wait_until_heard(bench, vm, "inaccessible")
    try:
        yield
    finally:
        away.rename(folder)
        vm.RefreshStorageInfo()
        _wait_until_heard(bench, vm, "connected")


def _nothing(_bench: Bench, _instance: Instance, _vm: Any) -> AbstractContextManager[Any]:
    return nullcontext()


_AROUND: dict[str, Callable[[Bench, Instance, Any], AbstractContextManager[Any]]] = {
    "destroying": _destroying,
    "lost": _lost,
    "unreadable": _unreadable,
}
