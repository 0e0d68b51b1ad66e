"""Writes an image's disk as a file: a streamOptimized VMDK, qcow2, raw, or an OVA."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

from vmops import units
from vmops.errors import AlreadyExists, ImageNotAcceptable
from vmops.images import qemu_img
from vmops.images.content import Opens, as_vmdk, complete
from vmops.images.formats import Layout, vmdk_sparse
from vmops.images.formats.layout import Reader
from vmops.images.formats.raw import raw_layout
from vmops.images.private_copy import write_sparse
from vmops.images.reading import reading
from vmops.images.stream_optimized import stream_optimized
from vmops.model.image import AdapterType, DiskType, Firmware, Image
from vmops.whole_files import give_new_name

_BLOCK = units.MIB
_SPARE = 64 * units.MIB
_CONTROLLERS = {
    AdapterType.IDE: (5, "PIIX4"),
    AdapterType.LSI_LOGIC: (6, "lsilogic"),
    AdapterType.LSI_LOGIC_SAS: (6, "lsilogicsas"),
    AdapterType.BUS_LOGIC: (6, "buslogic"),
    AdapterType.PARA_VIRTUAL: (6, "VirtualSCSI"),
    AdapterType.SATA: (20, "vmware.sata.ahci"),
    AdapterType.NVME: (20, "vmware.nvme.controller"),
}
"""Their resource type and sub type in an OVF."""
_NS = "http://schemas.dmtf.org"
_OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="{ns}/ovf/envelope/1" xmlns:ovf="{ns}/ovf/envelope/1"
          xmlns:rasd="{ns}/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
          xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="disk.vmdk" ovf:id="file1" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:capacity="{capacity}" ovf:diskId="disk1" ovf:fileRef="file1"
     ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <VirtualSystem ovf:id={name}>
    <Info>A virtual machine</Info>
    <OperatingSystemSection ovf:id="1" vmw:osType={guest_id}>
      <Info>The guest</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:ElementName>controller</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceSubType>{sub_type}</rasd:ResourceSubType>
        <rasd:ResourceType>{kind}</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:Parent>1</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


def export(
    store: Opens,
    image: Image,
    disk_format: str,
    target: Path,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the image's disk, of an archive the one that boots, to a new file.

    It is there whole or not at all.

    Raises:
        AlreadyExists: there is such a file.
        ImageNotAcceptable: the image has no disk, or is damaged.
        NotSupported: qemu-img is needed, and not there.
    """
    if image.disk_format == "iso":
        raise ImageNotAcceptable(f"Image {image.name!r} is an ISO image: there is no disk in it.")
    if target.exists():
        raise AlreadyExists(f"There is a file {target} already.")
    known = complete(store, image)
    # Beside it, as moving it there must not copy it.
    with TemporaryDirectory(prefix=".vmops-export-", dir=target.parent) as name:
        folder = Path(name)
        made = folder / f"disk.{disk_format}"
        with as_vmdk(store, known) as (opens, disk):
            _write(opens, disk, disk_format, made, observe)
        made.chmod(0o600)
        try:
            give_new_name(made, target)
        except FileExistsError:
            raise AlreadyExists(f"There is a file {target} already.") from None


def _write(
    store: Opens, image: Image, disk_format: str, made: Path, observe: Callable[[int, int], None]
) -> None:
    """From the file as it is held, which is copied first: it is checked to its end by that."""
    held = made.with_name("held")
    with held.open("x+b") as copy:
        with store.open(image) as stream:
            write_sparse(_told(stream, image.size_bytes, observe), copy)
        is_streamed = image.properties.disk_type is DiskType.STREAM_OPTIMIZED
        with reading(image.name):
            layout = _layout(copy, image)
            if disk_format == "raw":
                _write_raw(layout, copy, made)
                return
            vmdk = held
            if not is_streamed:
                vmdk = made.with_name("streamed")
                size = os.fstat(copy.fileno()).st_size
                with vmdk.open("xb") as writer:
                    for block in stream_optimized(layout.capacity_bytes, layout.blocks(copy, size)):
                        writer.write(block)
    if disk_format == "vmdk":
        vmdk.rename(made)
    elif disk_format == "qcow2":
        most = layout.capacity_bytes + layout.capacity_bytes // 16 + _SPARE
        qemu_img.convert(vmdk, "vmdk", made, to=("-O", "qcow2"), at_most=most)
    else:
        _write_ova(vmdk, image, layout.capacity_bytes, made)


def _told(stream: BinaryIO, total: int, observe: Callable[[int, int], None]) -> Iterator[bytes]:
    done = 0
    while block := stream.read(_BLOCK):
        yield block
        done += len(block)
        observe(done, total)


def _layout(file: BinaryIO, image: Image) -> Layout:
    size = os.fstat(file.fileno()).st_size
    if image.properties.disk_type.is_flat:
        return raw_layout(file, size)
    return vmdk_sparse.read(Reader(file, size))


def _write_raw(layout: Layout, file: BinaryIO, made: Path) -> None:
    size = os.fstat(file.fileno()).st_size
    with made.open("xb") as writer:
        for at, block in layout.blocks(file, size):
            writer.seek(at)
            writer.write(block)
        writer.truncate(layout.capacity_bytes)


def _write_ova(vmdk: Path, image: Image, capacity_bytes: int, made: Path) -> None:
    properties = image.properties
    kind, sub_type = _CONTROLLERS[properties.adapter_type]
    ovf = _OVF.format(
        ns=_NS,
        size=vmdk.stat().st_size,
        capacity=capacity_bytes,
        name=quoteattr(image.name),
        guest_id=quoteattr(properties.guest_id),
        kind=kind,
        sub_type=sub_type,
        firmware="efi" if properties.firmware is Firmware.EFI else "bios",
    ).encode()
    with vmdk.open("rb") as stream:
        of_disk = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        manifest = (
            f"SHA256(machine.ovf)= {hashlib.sha256(ovf).hexdigest()}\n"
            f"SHA256(disk.vmdk)= {of_disk}\n"
        ).encode()
        with made.open("xb") as writer:
            _member(writer, "machine.ovf", len(ovf), io.BytesIO(ovf))
            _member(writer, "machine.mf", len(manifest), io.BytesIO(manifest))
            _member(writer, "disk.vmdk", vmdk.stat().st_size, stream)
            writer.write(bytes(2 * tarfile.BLOCKSIZE))


def _member(writer: BinaryIO, name: str, size: int, content: BinaryIO) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    writer.write(header.tobuf(tarfile.GNU_FORMAT))
    shutil.copyfileobj(content, writer, _BLOCK)
    writer.write(bytes(-size % tarfile.BLOCKSIZE))
