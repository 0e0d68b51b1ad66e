"""A lab that is killed in the middle of something: its successor has all of it, or nothing."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client, connect
from tests.lab.machines import Machine
from tests.lab.operations.relocation.places import datastore
from tests.lab.specs import add, change, disk, new_disk, scsi
from vmops.lab import Lab, LabSettings
from vmops.lab.storage.chains import load_chain, opened
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.layers import flattened
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

DATASTORES = ("datastore1", "datastore2")
MOMENTS = 4
_NUMBER = re.compile(r"-\d{6}")
"""Of a layer: which of two are merged into the other may be another after a second try."""
PROJECT = Path(__file__).parents[3]
_PROGRAM = f"from {__name__} import fork_labs; fork_labs()"

Act = Callable[[Client], object]


def settings_of(state_dir: Path) -> LabSettings:
    return LabSettings(state_dir=state_dir, hypervisor="none")


def fork_labs() -> None:
    """Start labs, each in a process of its own that has all modules; asked for by lines of text."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        state_dir, wanted = json.loads(line)
        if os.fork() == 0:
            doomed_lab(Path(state_dir), wanted)


def doomed_lab(state_dir: Path, wanted: int) -> None:
    """Run a lab that dies right before the n-th change of its files, once it is told to count."""
    counted: list[str] = []
    counts = state_dir / "counts"
    total = os.open(state_dir / "total", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _changes(event, arguments) and os.access(counts, os.F_OK):
            counted.append(event)
            if not wanted:
                os.write(total, b".")
            if len(counted) == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

    with Lab.run(settings_of(state_dir)):
        sys.addaudithook(hook)
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        time.sleep(120)


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in {"os.link", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


@contextmanager
def lab_here(state_dir: Path) -> Iterator[Client]:
    with Lab.run(settings_of(state_dir)) as lab:
        client = connect(lab)
        yield client
        client.close()


class Labs:
    """Runs labs that die."""

    def __init__(self, forking: subprocess.Popen[str]) -> None:
        self._forking = forking

    def act_and_die(self, state_dir: Path, wanted: int, case: Case) -> bool:
        """Have a case done by a lab that dies at the n-th change; return whether it did."""
        assert self._forking.stdin is not None
        assert self._forking.stdout is not None
        print(json.dumps([str(state_dir), wanted]), file=self._forking.stdin, flush=True)
        pid = int(self._forking.stdout.readline())
        client = Client(Lab(settings_of(state_dir)))
        try:
            case.ready(client)
            (state_dir / "counts").touch()
            try:
                case.act(client)
            except (OSError, http.client.HTTPException):
                return True
            return False
        finally:
            client.drop()
            with suppress(ProcessLookupError):
                while True:
                    os.kill(pid, signal.SIGKILL)
                    time.sleep(0.005)
            (state_dir / "counts").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def labs() -> Iterator[Labs]:
    command = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forking:
        yield Labs(forking)
        forking.kill()


@dataclass(frozen=True)
class Case:
    """Something a client does, and what it needs to have been done before in the same lab."""

    name: str
    act: Act
    ready: Act = lambda _: None
    settle: Act = lambda _: None
    """What a client does afterwards, before the states are compared."""


State = tuple[object, ...]


def state(client: Client) -> State:
    """What there is: machines with what their disks hold, and files."""
    machines = []
    for vm in client.folder.childEntity:
        machine = Machine(client, vm)
        disks = [checksum(client, each.backing.fileName) for each in machine.disks]
        machines.append((vm.name, vm.config.files.vmPathName, str(machine.tree()), tuple(disks)))
    files = [
        f"{name}/{each.relative_to(client.root(name))}"
        for name in DATASTORES
        for each in client.root(name).rglob("*")
        if each.suffix != ".vmsd"  # which says what the tree says
    ]
    return (sorted(machines), sorted(_NUMBER.sub("-n", each) for each in files))


def checksum(client: Client, path: str) -> str:
    volumes = Volumes({name: client.lab.datastore_root(name) for name in DATASTORES})
    try:
        chain = load_chain(volumes, DatastorePath.parse(path))
    except StorageError as error:
        return str(error)
    seen = bytearray(chain[0].capacity_bytes)
    with opened(chain, locked=False) as layers:
        for offset, data in flattened(layers):
            seen[offset : offset + len(data)] = data
    path = _NUMBER.sub("-n", path)
    return f"{path} {hashlib.sha256(seen).hexdigest()[:12]}"


def vm_of(client: Client, name: str) -> Machine:
    [found] = [each for each in client.folder.childEntity if each.name == name]
    return Machine(client, found)


def prepare(state_dir: Path) -> None:
    """A machine with two snapshots and content in all layers, and one that stands on its disk."""
    with lab_here(state_dir) as client:
        base = Machine(client, client.create("base", scsi(), new_disk(1)))
        base.write(1)
        base.snapshot("one")
        base.write(2, at=65536)
        base.snapshot("two")
        base.write(3, at=2 * 65536)
        Machine(client, client.create("free", scsi(), new_disk(1))).write(6)
        plain = Machine(client, client.create("plain", scsi(), new_disk(1)))
        plain.write(9)
        linked = client.create("linked", scsi(), add(disk(1, parent=plain.disk), "create"))
        Machine(client, linked).write(5)
        (client.root() / "loose" / "deep").mkdir(parents=True)
        (client.root() / "loose" / "deep" / "file").write_bytes(b"x" * 4096)
        manager = client.content.virtualDiskManager
        spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
            diskType="thin", adapterType="lsiLogic", capacityKb=1024
        )
        path = "[datastore1] loose/disk.vmdk"
        client.result(manager.CreateVirtualDisk_Task(path, client.datacenter, spec))


def create(client: Client) -> None:
    parent = vm_of(client, "plain").disk
    child = add(disk(1, parent=parent), "create")
    client.create("new", scsi(), child, new_disk(1, key=-9))


def clone(client: Client, source: str, **where: Any) -> None:
    machine = vm_of(client, source)
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(**where), powerOn=False, template=False)
    machine.result(machine.CloneVM_Task(client.folder, "cloned", spec))


def linked_clone(client: Client) -> None:
    machine = vm_of(client, "base")
    where = vim.vm.RelocateSpec(diskMoveType="createNewChildDiskBacking")
    spec = vim.vm.CloneSpec(location=where, snapshot=machine.current, powerOn=False, template=False)
    machine.result(machine.CloneVM_Task(client.folder, "cloned", spec))


def relocate(client: Client, name: str) -> None:
    machine = vm_of(client, name)
    spec = vim.vm.RelocateSpec(datastore=datastore(client, "datastore2"))
    machine.result(machine.RelocateVM_Task(spec))


def power_on(name: str) -> Act:
    return lambda client: vm_of(client, name).on()


def remove_first_snapshot(client: Client) -> None:
    machine = vm_of(client, "base")
    machine.remove(machine.vm.snapshot.rootSnapshotList[0].snapshot)


def consolidate(client: Client) -> None:
    machine = vm_of(client, "base")
    if machine.runtime.consolidationNeeded:
        machine.result(machine.ConsolidateVMDisks_Task())


def remove_disk(client: Client) -> None:
    machine = vm_of(client, "linked")
    client.reconfigure(machine.vm, change("remove", machine.disks[0], "destroy"))


def copy_disk(client: Client) -> None:
    manager, center = client.content.virtualDiskManager, client.datacenter
    source, target = "[datastore1] plain/plain.vmdk", "[datastore1] loose/copied.vmdk"
    client.result(manager.CopyVirtualDisk_Task(source, center, target, center))


def move_disk(client: Client) -> None:
    manager, center = client.content.virtualDiskManager, client.datacenter
    source, target = "[datastore1] loose/disk.vmdk", "[datastore1] loose/moved.vmdk"
    client.result(manager.MoveVirtualDisk_Task(source, center, target, center))


def delete_disk(client: Client) -> None:
    manager, center = client.content.virtualDiskManager, client.datacenter
    client.result(manager.DeleteVirtualDisk_Task("[datastore1] loose/disk.vmdk", center))


def delete_folder(client: Client) -> None:
    manager, center = client.content.fileManager, client.datacenter
    client.result(manager.DeleteDatastoreFile_Task("[datastore1] loose", center))


def copy_folder(client: Client) -> None:
    manager, center = client.content.fileManager, client.datacenter
    source, target = "[datastore1] loose", "[datastore1] other"
    client.result(manager.CopyDatastoreFile_Task(source, center, target, center, False))


CASES = [
    Case("create", create),
    Case("snapshot", lambda client: vm_of(client, "plain").snapshot("new")),
    Case(
        "snapshot with memory",
        lambda client: vm_of(client, "plain").snapshot("new", memory=True),
        power_on("plain"),
    ),
    Case(
        "remove the last snapshot",
        lambda client: vm_of(client, "base").remove(vm_of(client, "base").current),
        settle=consolidate,
    ),
    Case("remove the first snapshot", remove_first_snapshot, settle=consolidate),
    Case(
        "remove a snapshot while it runs",
        lambda client: vm_of(client, "base").remove(vm_of(client, "base").current),
        power_on("base"),
        settle=consolidate,
    ),
    Case(
        "remove all snapshots",
        lambda client: client.result(vm_of(client, "base").RemoveAllSnapshots_Task()),
        settle=consolidate,
    ),
    Case("clone", lambda client: clone(client, "base")),
    Case("clone while it runs", lambda client: clone(client, "free"), power_on("free")),
    Case("linked clone", linked_clone),
    Case("relocate", lambda client: relocate(client, "base")),
    Case("relocate a linked clone", lambda client: relocate(client, "linked")),
    Case(
        "relocate while it runs",
        lambda client: relocate(client, "linked"),
        power_on("linked"),
        # A guest's disks move one by one, and are where they are then.
        settle=lambda client: relocate(client, "linked"),
    ),
    Case("destroy", lambda client: vm_of(client, "base").destroy()),
    Case(
        "add disks",
        lambda client: client.reconfigure(
            vm_of(client, "plain").vm, new_disk(1, controller=1000), new_disk(1, controller=1000)
        ),
    ),
    Case("remove a disk", remove_disk),
    Case("copy a disk", copy_disk),
    Case("move a disk", move_disk),
    Case("delete a disk", delete_disk),
    Case("delete a folder", delete_folder),
    Case("copy a folder", copy_folder),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state_dir = tmp_path_factory.mktemp("prepared") / "lab"
    prepare(state_dir)
    return state_dir


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_or_nothing(prepared: Path, labs: Labs, tmp_path: Path, case: Case) -> None:
    with lab_here(shutil.copytree(prepared, tmp_path / "before")) as client:
        before = state(client)
    done = shutil.copytree(prepared, tmp_path / "after")
    assert not labs.act_and_die(done, 0, case)
    with lab_here(done) as client:
        case.settle(client)
        after = state(client)
    assert after != before
    total = (done / "total").stat().st_size
    assert total > 1
    seen = []
    for wanted in moments(total):
        state_dir = shutil.copytree(prepared, tmp_path / str(wanted))
        died = labs.act_and_die(state_dir, wanted, case)
        with lab_here(state_dir) as client:
            unfinished = state(client) not in (before, after)
            if unfinished:
                case.settle(client)
            found = state(client)
            assert found in (before, after), difference(found, before, after, wanted)
            seen.append(found == after)
        assert not list((state_dir / "journal").glob("*"))
        shutil.rmtree(state_dir)
        assert died or wanted > total - 2
    assert seen == sorted(seen), "what was done came and went"


def moments(total: int) -> list[int]:
    """The changes before which the lab dies: the last ones, and some of those before."""
    step = max(1, total // MOMENTS)
    return sorted({*range(1, total, step), *range(max(1, total - 2), total + 1)})


def difference(found: State, before: State, after: State, wanted: int) -> str:
    lines = [f"killed at change {wanted}"]
    for number, what in enumerate(("machines", "files")):
        for name, other in (("before", before), ("after", after)):
            ours, theirs = set(found[number]), set(other[number])  # type: ignore[call-overload]
            lines.append(f"{what} against {name}: more {ours - theirs}, less {theirs - ours}")
    return "\n".join(lines)
