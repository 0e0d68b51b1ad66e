"""Volumes as their service makes them, by pyVmomi alone: shadow VMs and first class disks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyVmomi import vim

from tests.backends import files, second_view
from tests.contract.engine import Bench
from vmops import Instance

MIB = 1024**2
CAPACITY_MIB = 4
WRITTEN = b"what a guest wrote".ljust(512, b"!") + bytes(range(256)) * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeVolume:
    """A volume of its service, and how it tells an engine of it. ``holder`` is its shadow VM."""

    id: str
    connection: dict[str, Any]
    path: str
    holder: Any = None


def a_shadow_vm(bench: Bench, datastore: str = "", *, disk_path: str = "") -> MadeVolume:
    """A vmdk volume: a VM that is never powered on, with one disk; its UUID is the volume's id.

    The disk is a new one, or the one at ``disk_path``.
    """
    datastore = datastore or bench.backend.datastore
    volume_id = str(uuid.uuid4())
    name = f"vmops-test-volume-{volume_id[:8]}"
    controller = vim.vm.device.VirtualLsiLogicController(key=-1, busNumber=0, sharedBus="noSharing")
    disk = vim.vm.device.VirtualDisk(
        key=-2,
        controllerKey=-1,
        unitNumber=0,
        capacityInKB=CAPACITY_MIB * 1024,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=disk_path, diskMode="persistent", thinProvisioned=None if disk_path else True
        ),
    )
    change = vim.vm.device.VirtualDeviceSpec
    spec = vim.vm.ConfigSpec(
        name=name,
        instanceUuid=volume_id,
        guestId="otherGuest",
        numCPUs=1,
        memoryMB=4,
        files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
        deviceChange=[
            change(operation="add", device=controller),
            change(operation="add", fileOperation=None if disk_path else "create", device=disk),
        ],
    )
    content = bench.content
    datacenter = second_view.only(content, vim.Datacenter)
    pool = next(iter(second_view.every(content, vim.ResourcePool, "name")))
    home = second_view.properties(datacenter, "vmFolder")["vmFolder"]
    vm = second_view.finished(home.CreateVM_Task(config=spec, pool=pool))
    return MadeVolume(
        id=volume_id,
        connection={
            "driver_volume_type": "vmdk",
            "data": {"volume": vm._GetMoId(), "volume_id": volume_id, "name": name},
        },
        path=disk_of(vm).backing.fileName,
        holder=vm,
    )


def a_first_class_disk(bench: Bench, datastore: str = "") -> MadeVolume:
    """A volume of kind vstorageobject."""
    content = bench.content
    store = second_view.named(content, vim.Datastore, datastore or bench.backend.datastore)
    backing = vim.vslm.CreateSpec.DiskFileBackingSpec(datastore=store, provisioningType="thin")
    spec = vim.vslm.CreateSpec(
        name=f"vmops-test-{uuid.uuid4()}", capacityInMB=CAPACITY_MIB, backingSpec=backing
    )
    manager = content.vStorageObjectManager
    is_host = isinstance(manager, vim.vslm.host.VStorageObjectManager)
    make = manager.HostCreateDisk_Task if is_host else manager.CreateDisk_Task
    made = second_view.finished(make(spec)).config
    volume_id = str(uuid.uuid4())
    return MadeVolume(
        id=volume_id,
        connection={
            "driver_volume_type": "vstorageobject",
            "serial": volume_id,
            "data": {"id": made.id.id, "ds_ref_val": store._GetMoId()},
        },
        path=made.backing.filePath,
    )


def disks_of(vm: Any) -> list[Any]:
    return second_view.devices(vm, vim.vm.device.VirtualDisk)


def disk_of(vm: Any) -> Any:
    (disk,) = disks_of(vm)
    return disk


def paths(bench: Bench, instance: Instance) -> list[str]:
    """Where the disks of an instance are, in the server's order."""
    return [disk.backing.fileName for disk in disks_of(bench.vm(instance))]


def notes(bench: Bench, instance: Instance) -> dict[str, str]:
    """What the instance's VM has noted of volumes."""
    extra = second_view.extra_config(bench.vm(instance))
    prefixes = ("volume-", "vmops.root-volume", "vmops.moved-volume")
    return {key: value for key, value in extra.items() if key.startswith(prefixes) and value}


def mapping(*volumes: MadeVolume, root: bool = True) -> dict[str, Any]:
    """Nova's ``block_device_info``; with ``root`` the first volume is booted from."""
    return {
        "root_device_name": "/dev/sda",
        "block_device_mapping": [
            {
                "connection_info": each.connection,
                "mount_device": f"/dev/sd{letter}",
                "boot_index": 0 if root and letter == "a" else None,
            }
            for letter, each in zip("abcd" if root else "bcd", volumes, strict=False)
        ],
    }


def flat_of(bench: Bench, path: str) -> Path:
    """The file with the bytes of a disk."""
    datastore, _, name = path.removeprefix("[").partition("] ")
    root = bench.backend.datastore_root(datastore)
    assert root is not None
    return files.flat_of(root / name)


def write(bench: Bench, path: str, text: bytes = WRITTEN) -> None:
    """What a guest does, on a lab without guests."""
    with flat_of(bench, path).open("r+b") as stream:
        stream.write(text)


def read(bench: Bench, path: str, size: int = len(WRITTEN)) -> bytes:
    with flat_of(bench, path).open("rb") as stream:
        return stream.read(size)


def move_storage(bench: Bench, instance: Instance, datastore: str) -> None:
    """Move a VM with all its disks, as an administrator or the server's own balancing does."""
    where = second_view.named(bench.content, vim.Datastore, datastore)
    spec = vim.vm.RelocateSpec(datastore=where)
    second_view.finished(bench.vm(instance).RelocateVM_Task(spec=spec))


def delete_disk(bench: Bench, path: str) -> None:
    """Delete what the lab leaves of a disk that two VMs have; vSphere moves it away from both."""
    second_view.finished(
        bench.content.virtualDiskManager.DeleteVirtualDisk_Task(
            name=path, datacenter=second_view.only(bench.content, vim.Datacenter)
        )
    )


def moved_volume(bench: Bench, instance: Instance) -> MadeVolume:
    """A vmdk volume with something written on it, whose disk went along to datastore2."""
    made = a_shadow_vm(bench)
    bench.ops.attach_volume(None, made.connection, instance)
    move_storage(bench, instance, "datastore2")
    delete_disk(bench, made.path)
    write(bench, paths(bench, instance)[1])
    return made
