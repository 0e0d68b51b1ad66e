"""What a real guest sees of a resize whose process is killed, and that another process ends."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LabBackend
from tests.builders import MEMORY_MIB
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.faults.killing import Doom, after, kill
from vmops import DirectoryImageStore, Instance, VMwareVMOps
from vmops.ops.instances import leftovers, recovery

pytestmark = needs(Capability.GUEST, Capability.CONTROL)
COPYING = "Copy the root disk, and let the copy grow"


def killed(bench: Bench, instance: Instance, moment: str, *do: str, images: str = "") -> None:
    assert isinstance(bench.backend, LabBackend)
    size = {"vcpus": 2, "memory_mib": 2 * MEMORY_MIB, "root_gib": 1}
    images = images or str(bench.images.store.directory)
    kill(bench.backend, Doom(uuid=instance.uuid, do=do, moment=moment, images=images, **size))


def boots(bench: Bench, instance: Instance, wanted: list[int]) -> None:
    """Wait until the guest has told of these boots; each disk has a count of its own."""
    log, deadline = bench.serial(instance), time.monotonic() + 60
    while (seen := [int(n) for n in re.findall(r"boot (\d+)\r\n", log.text())]) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


@pytest.fixture
def other(bench: Bench) -> Iterator[VMwareVMOps]:
    with bench.backend.connect() as session:
        yield bench.engine(session=session)


def test_a_resize_killed_between_its_phases_is_reverted_and_confirmed_by_others(
    bench: Bench, other: VMwareVMOps
) -> None:
    """The reverted guest goes on counting where its old disk was, the confirmed one on the new."""
    instance = bench.spawn()
    boots(bench, instance, [1])
    killed(bench, instance, COPYING, "migrate")
    other.finish_revert_migration(instance, None)
    boots(bench, instance, [1, 2])
    killed(bench, instance, after("migrate"), "migrate")
    other.finish_migration(None, None, instance, None, None, None, True)
    boots(bench, instance, [1, 2, 3])
    other.finish_revert_migration(instance, None)
    boots(bench, instance, [1, 2, 3, 3])
    killed(bench, instance, "Power on", "migrate", "finish")
    other.finish_migration(None, None, instance, None, None, None, True)
    boots(bench, instance, [1, 2, 3, 3, 4])
    killed(bench, instance, "Delete the old disks", "confirm")
    other.confirm_migration(None, instance, None)
    other.reboot(instance, None, "HARD")
    boots(bench, instance, [1, 2, 3, 3, 4, 5])
    folder = bench.root() / instance.uuid
    assert len([f for f in folder.glob("*.vmdk") if "-flat" not in f.name]) == 1


def test_a_rescue_killed_on_its_way_is_unrescued_by_another(
    bench: Bench, other: VMwareVMOps
) -> None:
    instance = bench.spawn()
    boots(bench, instance, [1])
    killed(bench, instance, "Boot from the rescue disk", "rescue")
    other.unrescue(instance)
    boots(bench, instance, [1, 2])
    killed(bench, instance, after("rescue"), "rescue")
    boots(bench, instance, [1, 2, 1])
    other.unrescue(instance)
    boots(bench, instance, [1, 2, 1, 3])


def test_a_guest_whose_snapshot_is_killed_runs_on_and_is_swept(
    bench: Bench, tmp_path: Path
) -> None:
    """It writes on through the removal of the snapshot, and boots from the whole chain after it."""
    instance = bench.spawn()
    boots(bench, instance, [1])
    bench.ops.reboot(instance, None, "HARD")
    boots(bench, instance, [1, 2])
    killed(bench, instance, "Upload the disk to the image store", "snapshot")
    bench.ops.reboot(instance, None, "HARD")  # counted on the snapshot's delta
    boots(bench, instance, [1, 2, 3])
    (left,) = recovery.find_leftovers(bench.session, bench.settings)
    leftovers.remove_leftover(bench.session, left)
    assert second_view.properties(bench.vm(instance), "snapshot") == {}
    bench.ops.reboot(instance, None, "HARD")
    boots(bench, instance, [1, 2, 3, 4])
    store = DirectoryImageStore(tmp_path / "made")
    bench.engine(images=store).snapshot(None, instance, "made", lambda **_: None)
    assert store.get("made").capacity_bytes == len(bench.images.disk)
