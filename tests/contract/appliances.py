"""OVAs of several disks, and machines whose disks are on SATA and NVMe controllers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyVmomi import vim

from tests.backends import second_view
from tests.builders import CAPACITY, Images
from tests.contract.engine import Bench
from tests.image_files import OvfDisk, a_manifest, an_appliance_ovf, an_archive
from vmops import Instance
from vmops.lab.guest import conversion

Disk = vim.vm.device.VirtualDisk
BLANK = 2 * CAPACITY
DATA = bytes(range(256)) * (CAPACITY // 256)
"""A disk with nothing to boot from."""
EFI = '<vmw:Config vmw:key="firmware" vmw:value="efi"/>'
DATA_ON_IDE = (
    "<Item><rasd:Address>0</rasd:Address><rasd:InstanceID>4</rasd:InstanceID>"
    "<rasd:ResourceType>5</rasd:ResourceType></Item></VirtualHardwareSection>"
    '<vmw:BootOrderSection vmw:instanceId="12" vmw:type="disk"><Info/></vmw:BootOrderSection>'
    "<VirtualHardwareSection>"
)
"""An IDE controller, 4, and that the system boots, which is on SCSI."""
NIC = (
    "<Item><rasd:InstanceID>70</rasd:InstanceID><rasd:ResourceSubType>VmxNet3"
    "</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>"
)


def streamed(folder: Path, name: str, content: bytes) -> bytes:
    """The bytes of a streamOptimized VMDK."""
    raw = folder / f"{name}.raw"
    raw.write_bytes(content)
    conversion.convert_raw(raw, folder / name, "streamOptimized")
    return (folder / name).read_bytes()


def an_appliance(
    folder: Path,
    system: bytes,
    more: str = "",
    *,
    controller: tuple[int, str] = (6, "VirtualSCSI"),
    data_parent: int = 3,
    disks: Sequence[OvfDisk] = (
        OvfDisk("data.vmdk", unit=1),
        OvfDisk("", unit=2, capacity=BLANK),
        OvfDisk("system.vmdk", unit=0),
    ),
) -> Path:
    """An OVA of a system disk at the first place, a data disk and a blank one, listed otherwise.

    ``data_parent`` is the instance id of the controller of the first of ``disks``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ovf = an_appliance_ovf(disks, more, controller=controller)
    parent = b"<rasd:Parent>%d</rasd:Parent>"
    files = {
        "a.ovf": ovf.replace(parent % 3, parent % data_parent, 1),
        "data.vmdk": streamed(folder, "data.vmdk", DATA),
        "system.vmdk": streamed(folder, "system.vmdk", system),
    }
    ordered = {"a.ovf": files["a.ovf"], "a.mf": a_manifest(files), **files}
    return an_archive(folder / "a.ova", ordered)


def added(bench: Bench, folder: Path, name: str, more: str = "", **options: Any) -> str:
    """The name of an image of `an_appliance`, whose system is that of the bench's images."""
    images: Images = bench.images
    if name not in {image.name for image in images.store.list()}:
        images.store.add(an_appliance(folder, images.disk, more, **options), name)
    return name


def disks(bench: Bench, instance: Instance) -> dict[str, Any]:
    """The disks by file name, that of the root disk without the instance's UUID."""
    found = second_view.devices(bench.vm(instance), Disk)
    return {_plain(disk.backing.fileName, instance): disk for disk in found}


def _plain(path: str, instance: Instance) -> str:
    return path.rpartition("/")[2].replace(instance.uuid, "root")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
