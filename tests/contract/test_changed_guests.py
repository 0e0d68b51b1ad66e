"""What a real guest sees of a resize, of a rescue and of a snapshot."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, a_uuid
from tests.contract.engine import Bench
from tests.contract.linux_guest import MEMORY_MIB, LinuxGuest, linux_image
from tests.contract.needs import needs
from tests.contract.volume_by_hand import add_volume
from vmops import DirectoryImageStore, Flavor, Instance

pytestmark = needs(Capability.GUEST, Capability.DISK_BYTES)

SMALL = Flavor(vcpus=1, memory_mib=MEMORY_MIB)
BIG = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB, root_gib=1)
SHUTDOWN_S = 60.0
GIB = 1024**3


def an_instance() -> Instance:
    uuid = a_uuid()
    return Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=SMALL)


def test_a_guest_has_its_new_size_and_after_a_revert_its_old_one(bench: Bench) -> None:
    """It counts its boots on its disk: the reverted one goes on counting where the old disk was.

    What it writes to its volume while it is big is there when it is small again: nobody copied it.
    """
    guest = LinuxGuest.spawn(bench, an_instance(), power_on=False)
    add_volume(bench, guest.instance, b"first".ljust(CAPACITY, b"\0"))
    bench.ops.power_on(None, guest.instance, None, None)
    guest.wait_for_boot(1, SMALL)
    guest.wait_for_login()
    bench.ops.migrate_disk_and_power_off(
        None, guest.instance, "", BIG, timeout=SHUTDOWN_S, retry_interval=0.2
    )
    guest.wait_for("vmops-guest: powering off", seconds=1)
    bench.ops.finish_migration(None, None, guest.instance, None, None, None, True)
    guest.wait_for_boot(2, BIG, disk_mib=1024)
    guest.wait_for_login()
    assert guest.tell("head -c 5 /dev/sdb; echo later > /dev/sdb; sync") == "first"
    bench.ops.finish_revert_migration(guest.instance, None)
    guest.wait_for_boot(2, SMALL)
    guest.wait_for_login()
    assert guest.tell("head -c 5 /dev/sdb") == "later"


def test_a_confirmed_guest_boots_from_its_big_disk_alone(bench: Bench) -> None:
    guest = LinuxGuest.spawn(bench, an_instance())
    guest.wait_for_boot(1, SMALL)
    bench.ops.migrate_disk_and_power_off(None, guest.instance, "", BIG)
    bench.ops.finish_migration(None, None, guest.instance, None, None, None, True)
    bench.ops.confirm_migration(None, guest.instance, None)
    guest.wait_for("vmops-guest: ready")
    bench.ops.reboot(guest.instance, None, "HARD")
    guest.wait_for("vmops-guest: cpus 2 memory 256 MiB disk 1024 MiB\r\n")


@needs(Capability.VCENTER, Capability.TWO_DATASTORES)
def test_a_guest_goes_to_another_datastore_and_host_with_a_bigger_disk_and_back(
    bench: Bench,
) -> None:
    """Its count of boots is on its disk: the way back leads to the disk that did not go."""
    instance = bench.spawn(linked_clone=False)
    logs = [
        bench.root(name) / instance.uuid / "serial.log" for name in ("datastore1", "datastore2")
    ]

    def boots(wanted: list[int]) -> None:
        deadline = time.monotonic() + 60
        while True:
            texts = [log.read_text(errors="replace") for log in logs if log.exists()]
            seen = [int(n) for text in texts for n in re.findall(r"boot (\d+)\n", text)]
            if sorted(seen) == sorted(wanted):
                return
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)

    boots([1])
    flavor = Flavor(vcpus=2, memory_mib=32, root_gib=1)
    told = [1]
    for dest, count in (("datastore2", 2), ("esx2.lab.local", 3)):
        bench.ops.migrate_disk_and_power_off(None, instance, dest, flavor)
        bench.ops.finish_migration(None, None, instance, None, None, None, True)
        told.append(count)
        boots(told)
        bench.ops.finish_revert_migration(instance, None)
        told.append(count)
        boots(told)
    assert not (bench.root("datastore2") / instance.uuid).exists()


def test_a_guest_has_a_new_ephemeral_disk_and_after_a_revert_its_old_one(bench: Bench) -> None:
    """A new one is empty; the old one has what the guest had written to it."""
    uuid = a_uuid()
    flavor = replace(SMALL, ephemeral_gib=1)
    guest = LinuxGuest.spawn(
        bench, Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=flavor)
    )
    guest.wait_for_login()
    look = "cat /sys/block/sdb/size; head -c 4 /dev/sdb | tr '\\000' -"
    guest.tell("echo mine > /dev/sdb; sync")
    bench.ops.migrate_disk_and_power_off(None, guest.instance, "", replace(SMALL, ephemeral_gib=2))
    bench.ops.finish_migration(None, None, guest.instance, None, None, None, True)
    guest.wait_for_login()
    assert guest.tell(look) == f"{2 * GIB // 512}\n----"
    bench.ops.finish_revert_migration(guest.instance, None)
    guest.wait_for_login()
    assert guest.tell(look) == f"{GIB // 512}\nmine"


def test_what_is_changed_from_the_rescue_system_the_guest_sees_afterwards(bench: Bench) -> None:
    """The rescue system mounts the other disk and changes the count of its boots."""
    guest = LinuxGuest.spawn(bench, an_instance())
    guest.wait_for_boot(1, SMALL)
    guest.wait_for_login()
    bench.ops.rescue(None, guest.instance, None, linux_image(bench))
    guest.wait_for_boot(1, SMALL)  # the image's own count: it has never booted
    guest.wait_for_login()
    seen = guest.tell(
        "mkdir /tmp/own && mount -t ext4 /dev/sda2 /tmp/own && cat /tmp/own/var/lib/boots"
        " && echo 41 > /tmp/own/var/lib/boots && umount /tmp/own && sync"
    )
    assert seen == "1"
    bench.ops.unrescue(guest.instance)
    guest.wait_for_boot(42, SMALL)


def test_a_file_written_before_a_snapshot_is_in_the_image_and_one_written_after_is_not(
    bench: Bench, tmp_path: Path
) -> None:
    """The guest's Tools have it hold its writes; the file was still in its memory only."""
    store = DirectoryImageStore(tmp_path / "made")
    ops = bench.engine(images=store)
    guest = LinuxGuest.spawn(bench, an_instance())
    guest.wait_for_login()
    guest.wait_for_tools()
    guest.tell("echo before > /var/before")

    def write_another(*, task_state: str, expected_state: str | None = None) -> None:
        if task_state == "image_uploading":
            guest.tell("echo after > /var/after; sync")

    made = ops.snapshot(None, guest.instance, "made", write_another)
    assert made.quiesced
    assert guest.tell("cat /var/before /var/after") == "before\nafter"
    assert "boot" not in guest.new_text(), "it was not to boot again"
    bench.ops.power_off(guest.instance)
    again = an_instance()
    bench.spawn("made", instance=again, ops=ops)
    copy = LinuxGuest(bench, again)
    copy.wait_for_boot(2, SMALL)
    copy.wait_for_login()
    assert copy.tell("cat /var/before; ls /var/after") == (
        "before\nls: /var/after: No such file or directory"
    )
    assert second_view.properties(bench.vm(guest.instance), "snapshot") == {}
    disks = second_view.devices(bench.vm(guest.instance), vim.vm.device.VirtualDisk)
    assert [disk.backing.parent for disk in disks] == [None]


def test_a_guest_that_refuses_to_hold_still_is_taken_as_it_is(bench: Bench, tmp_path: Path) -> None:
    """A script in the guest refuses; what it had synced by then is in the image, which boots."""
    store = DirectoryImageStore(tmp_path / "made")
    ops = bench.engine(images=store)
    guest = LinuxGuest.spawn(bench, an_instance())
    guest.wait_for_login()
    guest.wait_for_tools()
    hook = "/etc/tools/pre-freeze"
    guest.tell(f"mkdir -p /etc/tools; echo exit 1 > {hook}; chmod +x {hook}; sync")
    made = ops.snapshot(None, guest.instance, "made", lambda **_: None)
    assert not made.quiesced
    assert guest.tell("echo it runs on") == "it runs on"
    assert second_view.properties(bench.vm(guest.instance), "snapshot") == {}
    bench.ops.power_off(guest.instance)
    again = an_instance()
    bench.spawn("made", instance=again, ops=ops)
    copy = LinuxGuest(bench, again)
    copy.wait_for_boot(2, SMALL)
    copy.wait_for_login()
    assert copy.tell(f"cat {hook}") == "exit 1"
