"""A volume as another tool would have attached it, made by plain calls."""

from __future__ import annotations

from pathlib import Path

from pyVmomi import vim

from tests.backends import second_view
from tests.contract.engine import Bench
from vmops import Instance

FOLDER = "7e57-volumes"
VOLUME_ID = "4711"


def add_volume(bench: Bench, instance: Instance, content: bytes) -> str:
    """Attach a disk that is marked as a volume's, in a folder of its own; return its path."""
    vm, root = bench.vm(instance), bench.root_disk(instance)
    folder = f"[{bench.backend.datastore}] {FOLDER}"
    datacenter = second_view.only(bench.content, vim.Datacenter)
    bench.content.fileManager.MakeDirectory(name=folder, datacenter=datacenter)
    disk = vim.vm.device.VirtualDisk(
        key=-1,
        controllerKey=root.controllerKey,
        unitNumber=root.unitNumber + 1,
        capacityInKB=len(content) // 1024,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"{folder}/volume.vmdk", diskMode="persistent"
        ),
    )
    spec = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[spec])))
    volume_data(bench).write_bytes(content)
    (made,) = [
        d
        for d in second_view.devices(vm, vim.vm.device.VirtualDisk)
        if d.backing.fileName.startswith(folder)
    ]
    mark = [vim.option.OptionValue(key=f"volume-{VOLUME_ID}", value=made.backing.uuid)]
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=mark)))
    return str(made.backing.fileName)


def volume_data(bench: Bench) -> Path:
    """The file with the volume's bytes."""
    return bench.root() / FOLDER / "volume-flat.vmdk"
