"""Volumes as their service makes them, by pyVmomi alone: shadow VMs and first class disks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from tests.backends import second_view
from tests.contract.engine import Bench
from vmops import Instance

MIB = 1024**2
CAPACITY_MIB = 4


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
            fileName=disk_path,
            diskMode="persistent",
            thinProvisioned=None if disk_path else True,
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
