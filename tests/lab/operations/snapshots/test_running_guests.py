"""Snapshots of a guest that runs: told by its own ticks and boots, and by its disk."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from pyVmomi import vim

from tests.lab.client import connect
from tests.lab.machines import MIB, Machine, frozen_disk
from tests.lab.specs import add, device, new_disk, scsi
from vmops.lab import Lab, LabSettings
from vmops.lab.guest.boot_sector import boot_count, boot_sector_disk
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

pytestmark = pytest.mark.guest

PATIENCE_S = 60


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="auto")
    with Lab.run(settings) as running:
        yield running


class Guest(Machine):
    """A machine whose guest counts its boots on disk and its ticks in memory."""

    @property
    def serial(self) -> str:
        file = self.folder / "serial.log"
        return file.read_bytes().decode("ascii", "replace") if file.exists() else ""

    @property
    def ticks(self) -> list[int]:
        """The ticks said since the last boot or resumption, and all before."""
        return [int(number) for number in re.findall(r"tick (\d+)\r", self.serial)]

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.serial[-300:]
            time.sleep(0.05)

    def wait_for_more(self, count: int = 3) -> None:
        before = len(self.ticks)
        self.wait_for(lambda: len(self.ticks) >= before + count)

    def boots(self, disk: str | None = None) -> int:
        """How often the disk was booted, as its own content says."""
        roots = {
            each.name: self.client.lab.datastore_root(each.name)
            for each in self.client.datacenter.datastore
        }
        store = DiskStore(Volumes(roots))
        copied = DatastorePath.parse(disk or self.disk).sibling("copy-for-reading.vmdk")
        store.copy(DatastorePath.parse(disk or self.disk), copied)
        try:
            return boot_count(
                self.client.file(str(copied).replace(".vmdk", "-flat.vmdk")).read_bytes()
            )
        finally:
            store.delete(copied)


@pytest.fixture
def guest(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Guest]:
    client = connect(lab)
    serial = device.VirtualSerialPort(
        key=-9,
        yieldOnPoll=True,
        backing=device.VirtualSerialPort.FileBackingInfo(fileName="serial.log"),
    )
    name = re.sub(r"\W", "", request.node.name)[:30]
    vm = client.create(name, scsi(), new_disk(1), add(serial), memoryMB=16)
    machine = Guest(client, vm)
    flat = client.file(machine.disk.replace(".vmdk", "-flat.vmdk"))
    flat.write_bytes(boot_sector_disk(period=2))
    assert flat.stat().st_size == MIB
    yield machine
    machine.destroy()
    client.close()


def test_what_runs_is_frozen_and_merged_again(guest: Guest) -> None:
    """Content of before and after stays; the guest notices nothing."""
    guest.on()
    guest.wait_for_more()
    snapshot = guest.snapshot("one")
    guest.wait_for_more()
    guest.result(guest.ResetVM_Task())  # it counts the boot on the new layer
    guest.wait_for(lambda: "boot 2\r" in guest.serial)
    guest.wait_for_more()
    assert guest.boots(frozen_disk(snapshot)) == 1
    ticks = len(guest.ticks)
    guest.remove(snapshot)
    guest.wait_for_more()
    after = guest.ticks[ticks - 1 :]
    assert after == list(range(after[0], after[0] + len(after)))
    assert guest.vmdks == {".vmdk"}
    guest.off()
    assert guest.boots() == 2


def test_a_snapshot_that_fails_after_the_switch_is_taken_back(guest: Guest) -> None:
    """The list of snapshots cannot be written, for a folder has its name."""
    guest.on()
    guest.wait_for_more()
    (guest.folder / f"{guest.name}.vmsd").mkdir()
    files = guest.files
    with pytest.raises(vim.fault.FileAlreadyExists):
        guest.snapshot("one", memory=True)
    assert (guest.files, guest.tree(), guest.chain) == (files, [], [f"{guest.name}.vmdk"])
    guest.result(guest.ResetVM_Task())
    guest.wait_for(lambda: "boot 2\r" in guest.serial)
    guest.off()
    assert guest.boots() == 2
    (guest.folder / f"{guest.name}.vmsd").rmdir()


def test_one_in_the_middle_while_it_runs(guest: Guest) -> None:
    guest.on()
    guest.wait_for_more()
    guest.snapshot("one")
    guest.result(guest.ResetVM_Task())
    guest.wait_for(lambda: "boot 2\r" in guest.serial)
    two = guest.snapshot("two")
    guest.result(guest.ResetVM_Task())
    guest.wait_for(lambda: "boot 3\r" in guest.serial)
    three = guest.snapshot("three")
    guest.result(guest.ResetVM_Task())
    guest.wait_for(lambda: "boot 4\r" in guest.serial)
    guest.remove(two)
    guest.wait_for_more()
    assert guest.tree() == ["one", ["three"]]
    assert guest.boots(frozen_disk(three)) == 3
    guest.result(guest.RemoveAllSnapshots_Task())
    guest.wait_for_more()
    guest.off()
    assert (guest.vmdks, guest.boots()) == ({".vmdk"}, 4)


def test_memory_goes_on_from_the_moment(guest: Guest) -> None:
    guest.on()
    guest.wait_for_more()
    snapshot = guest.snapshot("one", memory=True)
    at = guest.ticks[-1]
    guest.wait_for_more(10)
    last = guest.ticks[-1]
    seen = len(guest.ticks)
    guest.revert(snapshot)
    assert guest.runtime.powerState == "poweredOn"
    guest.wait_for(lambda: len(guest.ticks) >= seen + 3)
    back = guest.ticks[seen:]
    start = next(index for index, tick in enumerate(back) if tick <= last)
    assert abs(back[start] - at) <= 3
    assert back[start:] == list(range(back[start], back[start] + len(back) - start))
    assert "boot 2\r" not in guest.serial
    # It runs on a new layer, over what was frozen, and the snapshot can be gone back to again.
    guest.revert(snapshot)
    guest.wait_for_more()
    guest.remove(snapshot)
    guest.wait_for_more()
    assert guest.vmdks == {".vmdk"}


def test_a_revert_whose_memory_is_broken_lets_the_guest_run_on(guest: Guest) -> None:
    guest.on()
    guest.wait_for_more()
    snapshot = guest.snapshot("one", memory=True)
    memory = guest.folder / f"{guest.name}-Snapshot1.vmem"
    memory.write_bytes(memory.read_bytes()[:-100_000])
    guest.wait_for_more()
    seen = guest.ticks[-1]
    with pytest.raises(Exception, match=r"."):
        guest.revert(snapshot)
    assert guest.runtime.powerState == "poweredOn"
    guest.wait_for_more()
    assert guest.ticks[-1] > seen
    assert "boot 2\r" not in guest.serial


def test_a_linked_clone_boots_while_the_machine_runs_on(guest: Guest) -> None:
    guest.on()
    guest.wait_for_more()
    snapshot = guest.snapshot("one")
    guest.wait_for_more()
    client = guest.client
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(diskMoveType="createNewChildDiskBacking"),
        snapshot=snapshot,
        template=False,
        powerOn=True,
    )
    task = guest.CloneVM_Task(client.folder, f"{guest.name}-c", spec)
    clone = Guest(client, client.result(task))
    try:
        # The first boot is in the snapshot's disk, so the clone counts its own as the second.
        clone.wait_for(lambda: "boot 2\r" in clone.serial)
        clone.wait_for_more()
        guest.wait_for_more()
        assert "boot 2\r" not in guest.serial
        clone.off()
        assert clone.boots() == 2
        assert guest.boots(frozen_disk(snapshot)) == 1
    finally:
        clone.destroy()
    guest.remove(snapshot)
    guest.wait_for_more()
    guest.off()
    assert (guest.vmdks, guest.boots()) == ({".vmdk"}, 1)


def test_a_running_machine_is_cloned_whole(guest: Guest) -> None:
    guest.on()
    guest.wait_for_more()
    client = guest.client
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), template=False, powerOn=False)
    task = guest.CloneVM_Task(client.folder, f"{guest.name}-c", spec)
    clone = Guest(client, client.result(task))
    try:
        assert clone.boots() == 1
        guest.wait_for_more()
        assert (guest.tree(), guest.vmdks) == ([], {".vmdk"})
        assert "boot 2\r" not in guest.serial
    finally:
        clone.destroy()
