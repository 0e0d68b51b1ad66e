"""Image files of other formats than VMDK, made for tests."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycdlib

from vmops.images import ova
from vmops.model.image import Image

OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
          xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>
    <File ovf:id="file2" ovf:href="second.vmdk"/>
    <File ovf:id="file1" ovf:href="{first}" {more}/>
  </References>
  <DiskSection>
    <Disk ovf:diskId="one" ovf:fileRef="file1" ovf:capacity="1"/>
  </DiskSection>
</Envelope>
"""


def an_ovf(first: str = "first.vmdk", more: str = "") -> bytes:
    """An .ovf whose disk is ``first``, although its references begin otherwise."""
    return OVF.format(first=first, more=more).encode()


@dataclass(frozen=True)
class OvfDisk:
    """A disk of an .ovf: its file ("" for a blank one), and where it is on its controller."""

    file: str
    unit: int
    capacity: int = 1 << 20


def an_appliance_ovf(
    disks: Sequence[OvfDisk],
    more: str = "",
    *,
    controller: tuple[int, str] = (6, "VirtualSCSI"),
    system: str = 'ovf:id="101" vmw:osType="otherLinux64Guest"',
    before: str = "",
) -> bytes:
    """An .ovf with hardware: disks on one controller (resource type, sub type), and ``more``."""
    files = "".join(
        f'<File ovf:id="f{n}" ovf:href="{d.file}"/>' for n, d in enumerate(disks) if d.file
    )
    listed = "".join(
        f'<Disk ovf:diskId="d{n}" ovf:capacity="{d.capacity}"'
        + (f' ovf:fileRef="f{n}"/>' if d.file else "/>")
        for n, d in enumerate(disks)
    )
    kind, sub_type = controller
    items = (
        f"<Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID>"
        f"<rasd:ResourceSubType>{sub_type}</rasd:ResourceSubType>"
        f"<rasd:ResourceType>{kind}</rasd:ResourceType></Item>"
    ) + "".join(
        f"<Item><rasd:AddressOnParent>{d.unit}</rasd:AddressOnParent>"
        f"<rasd:HostResource>ovf:/disk/d{n}</rasd:HostResource>"
        f"<rasd:InstanceID>{10 + n}</rasd:InstanceID><rasd:Parent>3</rasd:Parent>"
        "<rasd:ResourceType>17</rasd:ResourceType></Item>"
        for n, d in enumerate(disks)
    )
    ns = "http://schemas.dmtf.org"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Envelope xmlns="{ns}/ovf/envelope/1" xmlns:ovf="{ns}/ovf/envelope/1"'
        f' xmlns:rasd="{ns}/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"'
        ' xmlns:vmw="http://www.vmware.com/schema/ovf">'
        f"<References>{files}</References><DiskSection><Info/>{listed}</DiskSection>{before}"
        '<VirtualSystem ovf:id="vm"><Info/>'
        f"<OperatingSystemSection {system}><Info/></OperatingSystemSection>"
        f"<VirtualHardwareSection><Info/>{items}{more}</VirtualHardwareSection>"
        "</VirtualSystem></Envelope>"
    ).encode()


def a_manifest(files: Mapping[str, bytes], algorithm: str = "sha256") -> bytes:
    return "".join(
        f"{algorithm.upper()}({name})= {hashlib.new(algorithm, content).hexdigest()}\n"
        for name, content in files.items()
    ).encode()


def an_archive(target: Path, files: Mapping[str, bytes], kind: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar archive with these files in this order."""
    with tarfile.open(target, "w", format=kind) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


def an_ova(target: Path, disk: bytes) -> Path:
    """An OVA with a manifest, whose disk has these bytes; there is another file before it."""
    files = {"a.ovf": an_ovf(), "second.vmdk": b"not this one", "first.vmdk": disk}
    ordered = {"a.ovf": files["a.ovf"], "a.mf": a_manifest(files), **files}
    return an_archive(target, ordered)


def look(archive: Path) -> ova.OvaContent:
    with archive.open("rb") as stream:
        return ova.look(stream)


def verify(archive: Path) -> None:
    with archive.open("rb") as stream:
        ova.verify(stream)


def a_bootable_iso(target: Path, boot_sector: bytes) -> Path:
    """An ISO image that boots these bytes as they are (El Torito, no emulation)."""
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident="boots", rock_ridge="1.09")
    code = boot_sector[:2048].ljust(2048, b"\0")
    image.add_fp(io.BytesIO(code), len(code), "/BOOT.;1", rr_name="boot")
    image.add_eltorito("/BOOT.;1", bootcatfile="/BOOT.CAT;1", rr_bootcatname="boot.cat")
    image.write(str(target))
    image.close()
    return target


class Stream(io.BytesIO):
    """Bytes as they come from a network: no seeking, and short reads."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, 70_000))

    def readinto(self, buffer: Any, /) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


@dataclass
class Remote:
    """A store elsewhere: it gives bytes and knows little of them."""

    content: bytes
    opened: int = 0

    def get(self, name_or_id: str) -> Image:
        return self.image()

    @contextlib.contextmanager
    def open(self, image: Image) -> Iterator[Stream]:
        self.opened += 1
        yield Stream(self.content)

    def image(self, disk_format: str = "vmdk", container_format: str = "bare") -> Image:
        return Image(
            id="i",
            name="held",
            size_bytes=len(self.content),
            disk_format=disk_format,
            container_format=container_format,
        )
