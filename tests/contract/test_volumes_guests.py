"""What real guests see of volumes: data goes from one guest to the next, and a guest boots."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import Bench
from tests.contract.linux_guest import MEMORY_MIB, LinuxGuest, linux_image
from tests.contract.needs import needs
from tests.contract.volumes import (
    MadeVolume,
    a_first_class_disk,
    a_shadow_vm,
    disk_of,
    move_storage,
    paths,
)
from vmops import Flavor, Instance

pytestmark = needs(Capability.GUEST, Capability.DISK_BYTES)

SMALL = Flavor(vcpus=1, memory_mib=MEMORY_MIB)
COMES = "until [ -b /dev/sdb ]; do sleep 0.2; done"
GOES = "while [ -b /dev/sdb ]; do sleep 0.2; done"


def an_instance() -> Instance:
    uuid = a_uuid()
    return Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=SMALL)


def booted(bench: Bench) -> LinuxGuest:
    guest = LinuxGuest.spawn(bench, an_instance())
    guest.wait_for_login()
    return guest


@pytest.mark.parametrize("make", [a_shadow_vm, a_first_class_disk], ids=["vmdk", "fcd"])
def test_what_one_guest_writes_another_reads(
    bench: Bench, make: Callable[[Bench], MadeVolume]
) -> None:
    """Both run all the time. With destroy, the volume stays."""
    volume, first, second = make(bench), booted(bench), booted(bench)
    bench.ops.attach_volume(None, volume.connection, first.instance)
    said = first.tell(f"{COMES}; echo from the first > /dev/sdb; sync; cat /sys/block/sdb/size")
    assert int(said) * 512 == 4 * 1024**2
    bench.ops.detach_volume(None, volume.connection, first.instance)
    assert first.tell(f"{GOES}; echo it is gone") == "it is gone"
    bench.ops.attach_volume(None, volume.connection, second.instance)
    assert second.tell(f"{COMES}; head -c 14 /dev/sdb") == "from the first"
    second.tell("echo from the second > /dev/sdb; sync")
    bench.ops.destroy(second.instance, None)
    bench.ops.attach_volume(None, volume.connection, first.instance)
    assert first.tell(f"{COMES}; head -c 15 /dev/sdb") == "from the second"


@needs(Capability.VCENTER, Capability.TWO_DATASTORES)
def test_what_is_written_while_the_server_moves_the_volume_is_there_for_the_next(
    bench: Bench,
) -> None:
    """An administrator moves the running machine with all its disks to another datastore."""
    volume, first = a_shadow_vm(bench), booted(bench)
    bench.ops.attach_volume(None, volume.connection, first.instance)
    first.tell(f"{COMES}; echo before > /dev/sdb; sync")
    move_storage(bench, first.instance, "datastore2")
    moved_to = bench.backend.datastore_root("datastore2")
    assert moved_to is not None
    first._log = moved_to / first.instance.uuid / "serial.log"
    assert first.tell("head -c 6 /dev/sdb; echo after > /dev/sdb; sync") == "before"
    bench.ops.detach_volume(None, volume.connection, first.instance)
    assert first.tell(f"{GOES}; echo it is gone") == "it is gone"
    bench.ops.destroy(first.instance, None)
    assert disk_of(volume.holder).backing.fileName.startswith("[datastore2] vmops-test-volume")
    second = booted(bench)
    bench.ops.attach_volume(None, volume.connection, second.instance)
    assert second.tell(f"{COMES}; head -c 5 /dev/sdb") == "after"


@pytest.mark.parametrize("kind", ["vmdk", "fcd"])
def test_a_guest_boots_from_a_volume_and_finds_there_what_it_wrote(bench: Bench, kind: str) -> None:
    """It counts its boots on its disk, and goes on counting as another instance."""
    volume = a_bootable_volume(bench, kind)
    disk = {"connection_info": volume.connection, "boot_index": 0, "disk_bus": "paraVirtual"}
    info = {"block_device_mapping": [disk]}
    first = an_instance()
    bench.spawn("", instance=first, block_device_info=info)
    assert paths(bench, first) == [volume.path]
    LinuxGuest(bench, first).wait_for("vmops-guest: boot 1\r\n")
    LinuxGuest(bench, first).wait_for("vmops-guest: ready")
    bench.ops.power_off(first, timeout=60.0, retry_interval=0.2)
    bench.ops.destroy(first, None)
    second = an_instance()
    bench.spawn("", instance=second, block_device_info=info)
    LinuxGuest(bench, second).wait_for("vmops-guest: boot 2\r\n")


def a_bootable_volume(bench: Bench, kind: str) -> MadeVolume:
    """A volume with the Linux image on it, as a volume service makes one of an image."""
    name = linux_image(bench)
    copied = f"[{bench.backend.datastore}] 7e57-{kind}/boot.vmdk"
    content = bench.content
    datacenter = second_view.only(content, vim.Datacenter)
    source = bench.spawn(name, instance=an_instance(), linked_clone=False, power_on=False)
    content.fileManager.MakeDirectory(name=copied.rpartition("/")[0], datacenter=datacenter)
    second_view.finished(
        content.virtualDiskManager.CopyVirtualDisk_Task(
            sourceName=paths(bench, source)[0],
            sourceDatacenter=datacenter,
            destName=copied,
            destDatacenter=datacenter,
        )
    )
    bench.ops.destroy(source, None)
    if kind == "vmdk":
        return a_shadow_vm(bench, disk_path=copied)
    disk = content.vStorageObjectManager.RegisterDisk(copied, f"vmops-test-{kind}").config
    store = second_view.named(content, vim.Datastore, bench.backend.datastore)
    data = {"id": disk.id.id, "ds_ref_val": store._GetMoId(), "volume_id": a_uuid()}
    return MadeVolume(
        id=data["volume_id"],
        connection={"driver_volume_type": "vstorageobject", "data": data},
        path=copied,
    )
