"""oslo.vmware's file handles: what Nova and Cinder move images and disks with."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    oslo = pytest.importorskip("oslo_vmware.api", reason="oslo.vmware is not installed")
    from oslo_vmware import rw_handles, vim_util

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmops.lab import Lab

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.parametrize("lab", [False], indirect=True, ids=["vcenter"], scope="module"),
]
MIB = 1024**2


@pytest.fixture(scope="module")
def session(lab: Lab, port: int) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = oslo.VMwareAPISession(
            "127.0.0.1",
            lab.username,
            lab.password,
            api_retry_count=2,
            task_poll_interval=0.02,
            port=port,
            cacert=str(lab.certificate_file),
        )
        yield made
        made.logout()


def test_a_file_is_written_and_read(session: Any, lab: Lab, port: int) -> None:
    content = os.urandom(MIB)
    where = ("127.0.0.1", port, "DC0", "datastore1", session.vim.client.cookiejar, "oslo/file")
    writer = rw_handles.FileWriteHandle(*where, len(content), cacerts=False)
    for start in range(0, MIB, 65536):
        writer.write(content[start : start + 65536])
    writer.close()
    assert (lab.datastore_root("datastore1") / "oslo/file").read_bytes() == content
    reader = rw_handles.FileReadHandle(*where, cacerts=False)
    assert reader.read(2 * MIB) == content
    reader.close()


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing")
def test_a_disk_goes_in_and_comes_out_through_leases(
    session: Any, lab: Lab, port: int, tmp_path: Path
) -> None:
    content = os.urandom(MIB) + bytes(3 * MIB)
    (tmp_path / "in.raw").write_bytes(content)
    _qemu_img(tmp_path, "-f raw -O vmdk -o subformat=streamOptimized in.raw in.vmdk")
    stream = (tmp_path / "in.vmdk").read_bytes()
    (pool, *_) = _objects(session, "ResourcePool", "name")
    ((_, folder),) = _objects(session, "Datacenter", "vmFolder")

    writer = rw_handles.VmdkWriteHandle(
        session, "127.0.0.1", port, pool[0], folder, _import_spec(session), len(stream), "PUT"
    )
    for start in range(0, len(stream), 65536):
        writer.write(stream[start : start + 65536])
        writer.update_progress()
    writer.close()
    flat = lab.datastore_root("datastore1") / "through-oslo/through-oslo-flat.vmdk"
    assert flat.read_bytes() == content

    vm = writer.get_imported_vm()
    reader = rw_handles.VmdkReadHandle(session, "127.0.0.1", port, vm, None, len(stream))
    with (tmp_path / "out.vmdk").open("wb") as out:
        while block := reader.read(65536):
            out.write(block)
    reader.close()
    _qemu_img(tmp_path, "-f vmdk -O raw out.vmdk out.raw")
    assert (tmp_path / "out.raw").read_bytes() == content
    session.wait_for_task(session.invoke_api(session.vim, "Destroy_Task", vm))


def _qemu_img(folder: Path, arguments: str) -> None:
    subprocess.run(["qemu-img", "convert", *arguments.split()], cwd=folder, check=True)


def _objects(session: Any, kind: str, name: str) -> list[tuple[Any, Any]]:
    found = session.invoke_api(vim_util, "get_objects", session.vim, kind, 100, [name]).objects
    return [(each.obj, vim_util.propset_dict(each.propSet)[name]) for each in found]


def _import_spec(session: Any) -> Any:
    """Nova's: the capacity is that of the compressed file, and the stream's is what counts."""
    create = session.vim.client.factory.create
    controller = create("ns0:VirtualLsiLogicController")
    controller.key, controller.busNumber, controller.sharedBus = -101, 0, "noSharing"
    disk = create("ns0:VirtualDisk")
    disk.key, disk.controllerKey, disk.unitNumber, disk.capacityInKB = -100, -101, 0, 10
    disk.backing = create("ns0:VirtualDiskFlatVer2BackingInfo")
    disk.backing.fileName, disk.backing.diskMode = "", "persistent"
    changes = []
    for device in (controller, disk):
        change = create("ns0:VirtualDeviceConfigSpec")
        change.operation, change.device = "add", device
        changes.append(change)
    changes[1].fileOperation = "create"
    config = create("ns0:VirtualMachineConfigSpec")
    config.name, config.numCPUs, config.memoryMB = "through-oslo", 1, 32
    config.deviceChange = changes
    config.files = create("ns0:VirtualMachineFileInfo")
    config.files.vmPathName = "[datastore1]"
    spec = create("ns0:VirtualMachineImportSpec")
    spec.configSpec = config
    return spec
