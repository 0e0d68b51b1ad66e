"""A virtual machine with snapshots, and its files on this machine as the second view."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vmodl

from tests.lab.client import Client
from tests.lab.specs import device, disk_spec, file_of, of_type
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

MIB = 1024 * 1024
CLUSTER = 64 * 1024


@dataclass
class Machine:
    client: Client
    vm: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vm, name)

    def result(self, task: Any) -> Any:
        return self.client.result(task)

    def snapshot(
        self, name: str, description: str = "", *, memory: bool = False, quiesce: bool = False
    ) -> Any:
        return self.result(self.vm.CreateSnapshot_Task(name, description, memory, quiesce))

    def revert(self, snapshot: Any, host: Any = None, *, stay_off: bool | None = None) -> None:
        self.result(snapshot.RevertToSnapshot_Task(host, stay_off))

    def remove(
        self, snapshot: Any, *, children: bool = False, consolidate: bool | None = None
    ) -> None:
        self.result(snapshot.RemoveSnapshot_Task(children, consolidate))

    def on(self) -> None:
        self.result(self.vm.PowerOnVM_Task())

    def off(self) -> None:
        self.result(self.vm.PowerOffVM_Task())

    @property
    def disks(self) -> list[Any]:
        return of_type(self.vm, device.VirtualDisk)

    @property
    def disk(self) -> str:
        """The file the only disk is written to."""
        [disk] = self.disks
        return str(disk.backing.fileName)

    @property
    def chain(self) -> list[str]:
        """The names of the disk's files as its device says, the present one first."""
        [disk] = self.disks
        names, backing = [], disk.backing
        while backing is not None:
            names.append(backing.fileName.rpartition("/")[2])
            backing = backing.parent
        return names

    @property
    def folder(self) -> Path:
        return self.client.file(self.vm.config.files.vmPathName).parent

    @property
    def vmdks(self) -> set[str]:
        """The descriptors in its folder, without the machine's name."""
        stem = self.vm.config.files.vmPathName.rpartition("/")[2].removesuffix(".vmx")
        return {
            file.name.removeprefix(stem)
            for file in self.folder.glob("*.vmdk")
            if not file.name.endswith(("-flat.vmdk", "-delta.vmdk"))
        }

    @property
    def files(self) -> set[str]:
        return {file.name for file in self.folder.iterdir()}

    def tree(self, nodes: Any = None) -> list[Any]:
        """The names of its snapshots, those on others in lists behind them."""
        if nodes is None:
            shown = self.vm.snapshot
            nodes = [] if shown is None else shown.rootSnapshotList
        names: list[Any] = []
        for node in nodes:
            names.append(node.name)
            if node.childSnapshotList:
                names.append(self.tree(node.childSnapshotList))
        return names

    @property
    def current(self) -> Any:
        return None if self.vm.snapshot is None else self.vm.snapshot.currentSnapshot

    def write(self, pattern: int, at: int = 0, disk: str | None = None) -> None:
        """Fill 64 KiB of a disk, as a guest would that ran on it."""
        path = disk or self.disk
        flat = self.client.file(path.replace(".vmdk", "-flat.vmdk"))
        if flat.exists():
            with flat.open("r+b") as file:
                file.seek(at)
                file.write(bytes([pattern]) * CLUSTER)
            return
        qemu_io = shutil.which("qemu-io")
        if qemu_io is None:
            pytest.skip("qemu-io is not installed (Debian: qemu-utils)")
        delta = self.client.file(path.replace(".vmdk", "-delta.vmdk"))
        command = f"write -P {pattern} {at} {CLUSTER}"
        subprocess.run([qemu_io, "-f", "qcow2", "-c", command, delta], check=True)

    def read(self, at: int = 0, disk: str | None = None) -> int:
        """The byte that 64 KiB of the disk are full of, all layers together."""
        return read(self.client, disk or self.disk, at)

    def destroy(self) -> None:
        with suppress(vmodl.fault.ManagedObjectNotFound):
            if self.vm.runtime.powerState != "poweredOff":
                self.off()
            self.result(self.vm.Destroy_Task())


@contextmanager
def virtual_machine(client: Client, name: str, *, disk_mib: int | None = None) -> Iterator[Any]:
    """A machine that is gone afterwards."""
    spec = disk_spec(f"vm-{name}", disk_mib)
    vm = client.result(client.folder.CreateVM_Task(spec, client.pool))
    try:
        yield vm
    finally:
        if vm.runtime.powerState == "poweredOn":
            client.result(vm.PowerOffVM_Task())
        client.result(vm.Destroy_Task())


def read(client: Client, disk: str, at: int = 0) -> int:
    roots = {
        each.name: client.lab.datastore_root(each.name) for each in client.datacenter.datastore
    }
    store = DiskStore(Volumes(roots))
    copied = DatastorePath.parse(disk).sibling("copy-for-reading.vmdk")
    store.copy(DatastorePath.parse(disk), copied)
    try:
        with client.file(str(copied).replace(".vmdk", "-flat.vmdk")).open("rb") as file:
            file.seek(at)
            data = file.read(CLUSTER)
    finally:
        store.delete(copied)
    assert len(set(data)) == 1
    return data[0]


def only_node(vm: Any) -> Any:
    [node] = vm.snapshot.rootSnapshotList
    return node


def frozen_disk(snapshot: Any) -> str:
    """The file of the only disk of a snapshot."""
    [disk] = of_type(snapshot, device.VirtualDisk)
    return file_of(disk)
