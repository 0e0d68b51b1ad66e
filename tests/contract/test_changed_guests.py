"""What a real guest sees of a resize and of a rescue."""

from __future__ import annotations

from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import Bench
from tests.contract.linux_guest import MEMORY_MIB, LinuxGuest, linux_image
from tests.contract.needs import needs
from vmops import Flavor, Instance

pytestmark = needs(Capability.GUEST, Capability.DISK_BYTES)

SMALL = Flavor(vcpus=1, memory_mib=MEMORY_MIB)
BIG = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB, root_gib=1)
SHUTDOWN_S = 60.0


def an_instance() -> Instance:
    uuid = a_uuid()
    return Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=SMALL)


def test_a_guest_has_its_new_size_and_after_a_revert_its_old_one(bench: Bench) -> None:
    """It counts its boots on its disk: the reverted one goes on counting where the old disk was."""
    guest = LinuxGuest.spawn(bench, an_instance())
    guest.wait_for_boot(1, SMALL)
    guest.wait_for("root login on 'tty1'")
    bench.ops.migrate_disk_and_power_off(
        None, guest.instance, "", BIG, timeout=SHUTDOWN_S, retry_interval=0.2
    )
    guest.wait_for("vmops-guest: powering off", seconds=1)
    bench.ops.finish_migration(None, None, guest.instance, None, None, None, True)
    guest.wait_for_boot(2, BIG, disk_mib=1024)
    bench.ops.finish_revert_migration(guest.instance, None)
    guest.wait_for_boot(2, SMALL)


def test_a_confirmed_guest_boots_from_its_big_disk_alone(bench: Bench) -> None:
    guest = LinuxGuest.spawn(bench, an_instance())
    guest.wait_for_boot(1, SMALL)
    bench.ops.migrate_disk_and_power_off(None, guest.instance, "", BIG)
    bench.ops.finish_migration(None, None, guest.instance, None, None, None, True)
    bench.ops.confirm_migration(None, guest.instance, None)
    guest.wait_for("vmops-guest: ready")
    bench.ops.reboot(guest.instance, None, "HARD")
    guest.wait_for("vmops-guest: cpus 2 memory 256 MiB disk 1024 MiB\r\n")


def test_what_is_changed_from_the_rescue_system_the_guest_sees_afterwards(bench: Bench) -> None:
    """The rescue system mounts the other disk and changes the count of its boots."""
    change = (
        "mkdir /tmp/own && mount -t ext4 /dev/sda2 /tmp/own && echo 41 > /tmp/own/var/lib/boots"
        " && umount /tmp/own && sync && echo it is changed > /dev/ttyS0"
    )
    guest = LinuxGuest.spawn(bench, an_instance(), change)
    guest.wait_for_boot(1, SMALL)
    guest.wait_for("root login on 'tty1'")
    bench.ops.rescue(None, guest.instance, None, linux_image(bench))
    guest.wait_for_boot(1, SMALL)  # the image's own count: it has never booted
    guest.run()
    guest.wait_for("it is changed", seconds=60)
    bench.ops.unrescue(guest.instance)
    guest.wait_for_boot(42, SMALL)
