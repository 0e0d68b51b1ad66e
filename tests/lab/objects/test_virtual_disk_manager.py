"""VirtualDiskManager over SOAP, seen from the datastore's directory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.machines import virtual_machine

fault = vim.fault
MIB = 1024**2


def spec(
    kib: int = 4096, disk_type: str = "thin", adapter: str = "lsiLogic"
) -> vim.VirtualDiskManager.FileBackedVirtualDiskSpec:
    return vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
        capacityKb=kib, diskType=disk_type, adapterType=adapter
    )


@pytest.fixture
def disks(client: Client) -> Any:
    return client.content.virtualDiskManager


@pytest.fixture
def path(client: Client, folder: str) -> str:
    """The beginning of datastore paths in the test's folder."""
    return f"[{client.datastore}] {folder}"


@pytest.fixture
def root(client: Client, folder: str) -> Path:
    return client.root() / folder


def test_a_disk_is_a_descriptor_and_as_many_bytes_as_asked(
    client: Client, disks: Any, path: str, root: Path
) -> None:
    task = disks.CreateVirtualDisk_Task(f"{path}/a.vmdk", client.datacenter, spec(adapter="ide"))
    assert client.result(task) == f"{path}/a.vmdk"
    assert (root / "a-flat.vmdk").stat().st_size == 4 * MIB
    descriptor = (root / "a.vmdk").read_text()
    assert 'RW 8192 VMFS "a-flat.vmdk"' in descriptor
    assert 'ddb.adapterType = "ide"' in descriptor
    assert 'ddb.thinProvisioned = "1"' in descriptor


@pytest.mark.parametrize(
    ("disk_type", "allocated"),
    [("thin", False), ("preallocated", True), ("eagerZeroedThick", True), ("thick", True)],
)
def test_provisioning_is_real(
    client: Client, disks: Any, path: str, root: Path, disk_type: str, allocated: bool
) -> None:
    dc = client.datacenter
    client.result(disks.CreateVirtualDisk_Task(f"{path}/a.vmdk", dc, spec(disk_type=disk_type)))
    used = (root / "a-flat.vmdk").stat().st_blocks * 512
    assert (used >= 4 * MIB) is allocated


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (spec(kib=0), vmodl.fault.InvalidArgument),
        (spec(kib=-5), vmodl.fault.InvalidArgument),
        (spec(adapter="floppy"), vmodl.fault.InvalidArgument),
        (spec(disk_type="strange"), vmodl.fault.InvalidArgument),
        (spec(disk_type="sparse2Gb"), vmodl.fault.NotSupported),
        (
            vim.VirtualDiskManager.DeviceBackedVirtualDiskSpec(
                device="naa.1", diskType="rdm", adapterType="lsiLogic"
            ),
            vmodl.fault.NotSupported,
        ),
    ],
)
def test_what_cannot_be_created(
    client: Client, disks: Any, path: str, root: Path, bad: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        client.result(disks.CreateVirtualDisk_Task(f"{path}/a.vmdk", client.datacenter, bad))
    assert list(root.iterdir()) == []


def test_names_that_are_taken_or_lead_nowhere(
    client: Client, disks: Any, path: str, root: Path
) -> None:
    dc = client.datacenter
    client.result(disks.CreateVirtualDisk_Task(f"{path}/a.vmdk", dc, spec()))
    with pytest.raises(fault.FileAlreadyExists):
        client.result(disks.CreateVirtualDisk_Task(f"{path}/a.vmdk", dc, spec()))
    with pytest.raises(fault.FileNotFound) as caught:
        client.result(disks.CreateVirtualDisk_Task(f"{path}/no/a.vmdk", dc, spec()))
    assert caught.value.file == f"{path}/no"
    with pytest.raises(fault.FileNotFound):
        client.result(disks.DeleteVirtualDisk_Task(f"{path}/b.vmdk", dc))
    (root / "passwd.vmdk").write_text(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
        'createType="vmfs"\nRW 8 VMFS "/etc/passwd"\n'
    )
    with pytest.raises(fault.InvalidDiskFormat):
        client.result(disks.CopyVirtualDisk_Task(f"{path}/passwd.vmdk", dc, f"{path}/c.vmdk", dc))
    assert not (root / "c.vmdk").exists()


def test_copy_converts_and_carries_the_content(
    client: Client, disks: Any, path: str, root: Path
) -> None:
    dc = client.datacenter
    client.result(disks.CreateVirtualDisk_Task(f"{path}/a.vmdk", dc, spec(adapter="ide")))
    content = os.urandom(MIB) + bytes(3 * MIB)
    (root / "a-flat.vmdk").write_bytes(content)
    wanted = vim.VirtualDiskManager.VirtualDiskSpec(diskType="thin", adapterType="lsiLogic")
    client.result(disks.CopyVirtualDisk_Task(f"{path}/a.vmdk", dc, f"{path}/thin.vmdk", dc, wanted))
    assert (root / "thin-flat.vmdk").read_bytes() == content
    assert (root / "thin-flat.vmdk").stat().st_blocks * 512 < 2 * MIB
    assert 'ddb.adapterType = "lsilogic"' in (root / "thin.vmdk").read_text()
    client.result(disks.CopyVirtualDisk_Task(f"{path}/a.vmdk", dc, f"{path}/thick.vmdk", dc))
    assert (root / "thick-flat.vmdk").stat().st_blocks * 512 >= 4 * MIB
    assert 'ddb.adapterType = "buslogic"' in (root / "thick.vmdk").read_text()
    with pytest.raises(fault.FileAlreadyExists):
        client.result(disks.CopyVirtualDisk_Task(f"{path}/a.vmdk", dc, f"{path}/thin.vmdk", dc))
    client.result(
        disks.CopyVirtualDisk_Task(f"{path}/a.vmdk", dc, f"{path}/thin.vmdk", dc, wanted, True)
    )
    client.result(disks.CopyVirtualDisk_Task(f"{path}/a.vmdk", dc, f"{path}/a.vmdk", dc))
    assert (root / "a-flat.vmdk").read_bytes() == content


def test_move_extend_and_delete_take_both_files_along(
    client: Client, disks: Any, path: str, root: Path
) -> None:
    dc, other = client.datacenter, sorted(client.datastores)[1]
    client.result(disks.CreateVirtualDisk_Task(f"{path}/a.vmdk", dc, spec()))
    target = f"[{other}] moved-{root.name}.vmdk"
    client.result(disks.MoveVirtualDisk_Task(f"{path}/a.vmdk", dc, target, dc))
    assert list(root.iterdir()) == []
    flat = client.root(other) / f"moved-{root.name}-flat.vmdk"
    assert flat.stat().st_size == 4 * MIB
    client.result(disks.ExtendVirtualDisk_Task(target, dc, 8192, False))
    assert flat.stat().st_size == 8 * MIB
    with pytest.raises(fault.FileFault):
        client.result(disks.ExtendVirtualDisk_Task(target, dc, 4096, False))
    assert flat.stat().st_size == 8 * MIB
    client.result(disks.DeleteVirtualDisk_Task(target, dc))
    assert not flat.exists()
    assert not (client.root(other) / f"moved-{root.name}.vmdk").exists()


def test_inflate_zero_and_shrink_change_space_not_identity(
    client: Client, disks: Any, path: str, root: Path
) -> None:
    dc, name, flat = client.datacenter, f"{path}/a.vmdk", root / "a-flat.vmdk"
    client.result(disks.CreateVirtualDisk_Task(name, dc, spec()))
    content = b"data" * 1024 + bytes(4 * MIB - 4096)
    flat.write_bytes(content)
    uuid = disks.QueryVirtualDiskUuid(name, dc)
    with pytest.raises(fault.InvalidDiskFormat):
        client.result(disks.EagerZeroVirtualDisk_Task(name, dc))
    client.result(disks.ShrinkVirtualDisk_Task(name, dc))
    assert flat.stat().st_blocks * 512 < MIB
    client.result(disks.InflateVirtualDisk_Task(name, dc))
    assert flat.stat().st_blocks * 512 >= 4 * MIB
    assert flat.read_bytes() == content
    assert "thinProvisioned" not in (root / "a.vmdk").read_text()
    with pytest.raises(fault.InvalidDiskFormat):
        client.result(disks.ShrinkVirtualDisk_Task(name, dc))
    client.result(disks.ZeroFillVirtualDisk_Task(name, dc))
    assert flat.read_bytes() == bytes(4 * MIB)
    assert disks.QueryVirtualDiskUuid(name, dc) == uuid
    assert sorted(each.name for each in root.iterdir()) == ["a-flat.vmdk", "a.vmdk"]


def test_uuid_and_geometry(client: Client, disks: Any, path: str) -> None:
    dc, name = client.datacenter, f"{path}/a.vmdk"
    client.result(disks.CreateVirtualDisk_Task(name, dc, spec()))
    wanted = "60 00 C2 90 11 22 33 44-55 66 77 88 99 aa bb cc"
    disks.SetVirtualDiskUuid(name, dc, wanted)
    assert disks.QueryVirtualDiskUuid(name, dc).lower() == wanted.lower()
    with pytest.raises(vmodl.fault.InvalidArgument):
        disks.SetVirtualDiskUuid(name, dc, "no uuid")
    shape = disks.QueryVirtualDiskGeometry(name, dc)
    assert (shape.cylinder, shape.head, shape.sector) == (4, 64, 32)
    with pytest.raises(vmodl.fault.NotSupported):
        disks.QueryVirtualDiskFragmentation(name, dc)


def test_novas_flat_image_way(client: Client, disks: Any, path: str, root: Path) -> None:
    """A descriptor is created, its data deleted, and the image's bytes put in their place."""
    dc, name = client.datacenter, f"{path}/image.vmdk"
    client.result(disks.CreateVirtualDisk_Task(name, dc, spec(kib=1024, disk_type="preallocated")))
    flat = f"{path}/image-flat.vmdk"
    client.result(client.content.fileManager.DeleteDatastoreFile_Task(flat, dc))
    content = os.urandom(MIB)
    assert client.request("PUT", client.url(f"{root.name}/image-flat.vmdk"), content)[0] == 201
    client.result(disks.CopyVirtualDisk_Task(name, dc, f"{path}/copy.vmdk", dc))
    assert (root / "copy-flat.vmdk").read_bytes() == content


def test_a_linked_clones_parent_can_be_copied_but_not_changed_while_it_runs(
    client: Client, disks: Any, path: str, folder: str
) -> None:
    dc, parent = client.datacenter, f"{path}/base.vmdk"
    client.result(disks.CreateVirtualDisk_Task(parent, dc, spec()))
    with virtual_machine(client, folder) as vm:
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo
        add = vim.vm.device.VirtualDeviceSpec
        controller = vim.vm.device.VirtualLsiLogicController(
            key=-1, busNumber=0, sharedBus="noSharing"
        )
        disk = vim.vm.device.VirtualDisk(
            key=-2,
            controllerKey=-1,
            unitNumber=0,
            capacityInKB=4096,
            backing=backing(
                fileName="", diskMode="persistent", parent=backing(fileName=parent, diskMode="")
            ),
        )
        client.result(
            vm.ReconfigVM_Task(
                vim.vm.ConfigSpec(
                    deviceChange=[
                        add(operation="add", device=controller),
                        add(operation="add", fileOperation="create", device=disk),
                    ]
                )
            )
        )
        client.result(vm.PowerOnVM_Task())
        client.result(disks.CopyVirtualDisk_Task(parent, dc, f"{path}/copy.vmdk", dc))
        calls: list[Callable[[], object]] = [
            lambda: disks.DeleteVirtualDisk_Task(parent, dc),
            lambda: disks.MoveVirtualDisk_Task(parent, dc, f"{path}/x.vmdk", dc),
            lambda: disks.ExtendVirtualDisk_Task(parent, dc, 8192),
        ]
        for call in calls:
            with pytest.raises(fault.FileLocked):
                client.result(call())
