"""What an image is, and what its properties ask for.

The property names and values are Glance's: the old ones of the vSphere driver (``vmware_ostype``)
and the present ones (``os_distro``) both count; see the table in `ImageProperties.from_mapping`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from vmops.errors import ImageNotAcceptable, UnsupportedDevice
from vmops.model.hardware import Firmware as Firmware  # noqa: PLC0414 - told from here on
from vmops.model.hardware import ImageHardware

DISK_FORMATS = ("vmdk", "iso", "qcow2", "raw", "vhd", "vhdx", "vdi")
"""Those that a machine's disk or CD-ROM can be made of; the words are Glance's."""

EXPORT_FORMATS = ("vmdk", "qcow2", "raw", "ova")
"""Those that an image can be written as."""


class DiskType(StrEnum):
    """How an image's disk is laid out; the values are those of ``vmware_disktype``."""

    SPARSE = "sparse"
    THIN = "thin"
    PREALLOCATED = "preallocated"
    THICK = "thick"
    EAGER_ZEROED_THICK = "eagerZeroedThick"
    STREAM_OPTIMIZED = "streamOptimized"

    @property
    def is_flat(self) -> bool:
        """Whether the image file is the bytes of the disk themselves."""
        return self not in {DiskType.SPARSE, DiskType.STREAM_OPTIMIZED}


class AdapterType(StrEnum):
    """Disk adapters; the values are those of ``vmware_adaptertype``."""

    IDE = "ide"
    LSI_LOGIC = "lsiLogic"
    LSI_LOGIC_SAS = "lsiLogicsas"
    BUS_LOGIC = "busLogic"
    PARA_VIRTUAL = "paraVirtual"
    SATA = "sata"
    NVME = "nvme"

    @property
    def is_scsi(self) -> bool:
        """Whether it is one of the SCSI adapters, which share four places."""
        return self not in {AdapterType.IDE, AdapterType.SATA, AdapterType.NVME}


class VifModel(StrEnum):
    """NIC models; the values are vSphere's device classes."""

    E1000 = "VirtualE1000"
    E1000E = "VirtualE1000e"
    PCNET32 = "VirtualPCNet32"
    VMXNET = "VirtualVmxnet"
    VMXNET3 = "VirtualVmxnet3"

    @property
    def word(self) -> str:
        """What people call it: "vmxnet3"."""
        return self.value.removeprefix("Virtual").lower()


# Glance's and the older driver's words for NIC models; compared in lower case.
VIF_MODELS: dict[str, VifModel] = {
    "e1000": VifModel.E1000,
    "virtuale1000": VifModel.E1000,
    "e1000e": VifModel.E1000E,
    "virtuale1000e": VifModel.E1000E,
    "pcnet": VifModel.PCNET32,
    "virtualpcnet32": VifModel.PCNET32,
    "vmxnet": VifModel.VMXNET,
    "virtualvmxnet": VifModel.VMXNET,
    "vmxnet3": VifModel.VMXNET3,
    "virtualvmxnet3": VifModel.VMXNET3,
}

# hw_scsi_model's words; compared in lower case.
SCSI_MODELS: dict[str, AdapterType] = {
    "lsilogic": AdapterType.LSI_LOGIC,
    "lsisas1068": AdapterType.LSI_LOGIC_SAS,
    "buslogic": AdapterType.BUS_LOGIC,
    "vmpvscsi": AdapterType.PARA_VIRTUAL,
}

# vSphere's guest ids all end so. What else stands in ``os_distro`` is a name of libosinfo's, such
# as "debian", which says nothing to vSphere.
_GUEST_ID = re.compile(r"Guest(64)?$")

# The present names of what has an older one, which counts first.
_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "vmware_ostype": ("os_distro",),
    "vmware_disktype": ("hw_disk_type",),
    "vmware_adaptertype": ("hw_disk_bus", "hw_scsi_model"),
    "vmware_linked_clone": ("img_linked_clone",),
}

# hw_disk_bus's words that say all; those of SCSI leave the model to hw_scsi_model.
DISK_BUSES: dict[str, AdapterType] = {
    "ide": AdapterType.IDE,
    "sata": AdapterType.SATA,
    "nvme": AdapterType.NVME,
}

# The property of each field of `ImageProperties`.
_NAMES = {
    "guest_id": "vmware_ostype",
    "disk_type": "vmware_disktype",
    "adapter_type": "vmware_adaptertype",
    "vif_model": "hw_vif_model",
    "firmware": "hw_firmware_type",
    "linked_clone": "vmware_linked_clone",
    "needs_config_drive": "img_config_drive",
}

FIRMWARES: dict[str, Firmware] = {"bios": Firmware.BIOS, "uefi": Firmware.EFI, "efi": Firmware.EFI}


# img_config_drive's words: whether the image cannot do without one.
CONFIG_DRIVES = {"mandatory": True, "optional": False}


def vif_model(name: str) -> VifModel:
    """The NIC model that ``name`` means, in Glance's or vSphere's word.

    Raises:
        UnsupportedDevice: no NIC of vSphere has this name.
    """
    try:
        return VIF_MODELS[name.lower()]
    except KeyError:
        known = ", ".join(sorted({*VIF_MODELS}))
        raise UnsupportedDevice(f"There is no NIC model {name!r}. Known: {known}.") from None


def _flag(name: str, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"true", "yes", "on", "1"}:
        return True
    if lowered in {"false", "no", "off", "0"}:
        return False
    raise ImageNotAcceptable(f"Image property {name} is {text!r}; it takes true or false.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProperties:
    """What an image's properties ask of the virtual machine."""

    guest_id: str = "otherGuest"
    disk_type: DiskType = DiskType.PREALLOCATED
    adapter_type: AdapterType = AdapterType.LSI_LOGIC
    vif_model: VifModel = VifModel.E1000
    firmware: Firmware = Firmware.BIOS
    linked_clone: bool | None = None
    """None: the engine's setting decides."""
    needs_config_drive: bool = False
    hardware: ImageHardware = ImageHardware()  # noqa: RUF009 - it is frozen
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """The properties that were given, in their older names; the others have their defaults."""

    @classmethod
    def from_mapping(cls, properties: Mapping[str, object]) -> Self:
        """Read Glance's properties; those that do not concern us are passed over.

        Raises:
            ImageNotAcceptable: a property that concerns us has a value that means nothing.
            UnsupportedDevice: the NIC model does not exist on vSphere.
        """
        texts = {key: str(value) for key, value in properties.items() if value is not None}

        def first(*names: str) -> str | None:
            return next((texts[name] for name in names if texts.get(name)), None)

        wanted: dict[str, object] = {}
        distro = texts.get("os_distro", "")
        if guest_id := first("vmware_ostype") or (_GUEST_ID.search(distro) and distro):
            wanted["guest_id"] = guest_id
        if disk_type := first("vmware_disktype", "hw_disk_type"):
            wanted["disk_type"] = _choice(DiskType, "vmware_disktype", disk_type)
        if adapter := first("vmware_adaptertype"):
            wanted["adapter_type"] = _choice(AdapterType, "vmware_adaptertype", adapter)
        elif (bus := (texts.get("hw_disk_bus") or "").lower()) in DISK_BUSES:
            wanted["adapter_type"] = DISK_BUSES[bus]
        elif scsi := first("hw_scsi_model"):
            wanted["adapter_type"] = _meaning(SCSI_MODELS, "hw_scsi_model", scsi)
        if model := first("hw_vif_model"):
            wanted["vif_model"] = vif_model(model)
        if firmware := first("hw_firmware_type"):
            wanted["firmware"] = _meaning(FIRMWARES, "hw_firmware_type", firmware)
        if linked := first("vmware_linked_clone", "img_linked_clone"):
            wanted["linked_clone"] = _flag("vmware_linked_clone", linked)
        if drive := first("img_config_drive"):
            wanted["needs_config_drive"] = _meaning(CONFIG_DRIVES, "img_config_drive", drive)
        given = frozenset(_NAMES[name] for name in wanted)
        hardware = ImageHardware.from_properties(texts)
        return cls(hardware=hardware, given=given, **wanted)  # type: ignore[arg-type]

    def overridden_by(self, given: Mapping[str, object]) -> ImageProperties:
        """The same with what ``given`` says of it instead, in Glance's names.

        Raises:
            ImageNotAcceptable, UnsupportedDevice: as `from_mapping`.
        """
        own = {
            name: value
            for name, value in self.to_mapping().items()
            if not any(given.get(other) for other in _OTHER_NAMES.get(name, ()))
            or (name == "vmware_ostype" and not _GUEST_ID.search(str(given.get("os_distro"))))
        }
        made = ImageProperties.from_mapping({**own, **given})
        return replace(made, given=self.given | ImageProperties.from_mapping(given).given)

    def with_defaults(self, defaults: Mapping[str, str]) -> ImageProperties:
        """The same with what ``defaults`` say where nothing else was given, in Glance's names.

        Raises:
            ImageNotAcceptable, UnsupportedDevice: as `from_mapping`.
        """
        own, plain = self.to_mapping(), ImageProperties().to_mapping()
        fixed = {
            name: value
            for name, value in own.items()
            if name in self.given or name not in plain or value != plain[name]
        }
        made = ImageProperties.from_mapping({**own, **defaults, **fixed})
        return replace(made, given=self.given)

    def to_mapping(self) -> dict[str, object]:
        """The properties that `from_mapping` reads the same from."""
        return {
            "vmware_ostype": self.guest_id,
            "vmware_disktype": self.disk_type.value,
            "vmware_adaptertype": self.adapter_type.value,
            "hw_vif_model": self.vif_model.value,
            "hw_firmware_type": self.firmware.value,
            "vmware_linked_clone": self.linked_clone,
            "img_config_drive": "mandatory" if self.needs_config_drive else None,
            **self.hardware.to_properties(),
        }


def _meaning(words: Mapping[str, object], name: str, text: str) -> object:
    if text.lower() not in words:
        known = ", ".join(words)
        raise ImageNotAcceptable(f"Image property {name} is {text!r}; it takes one of {known}.")
    return words[text.lower()]


def _choice(kind: type[DiskType] | type[AdapterType], name: str, text: str) -> StrEnum:
    for member in kind:
        if member.value.lower() == text.lower():
            return member
    known = ", ".join(member.value for member in kind)
    raise ImageNotAcceptable(f"Image property {name} is {text!r}; it takes one of {known}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDisk:
    """A further disk of an image: a file in its archive, or blank where ``file`` is "".

    ``adapter`` None is that of the disk that boots.
    """

    file: str
    capacity_bytes: int
    adapter: AdapterType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePackage:
    """What an image's package says of the machine besides the disk that boots.

    ``boot_file`` is that disk's name in the archive. ``vcpus`` and ``memory_mib`` 0 say nothing;
    ``notes`` are sentences for people on what of the package is not done.
    """

    boot_file: str
    disks: tuple[ImageDisk, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Properties, in Glance's names, below those of the image."""
    vcpus: int = 0
    memory_mib: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a store.

    ``size_bytes`` is that of its file, ``capacity_bytes`` that of the disk in it (None where the
    store does not know); ``checksum`` is "sha256:<hex>" of the file, None where unknown.
    ``package`` is what an archive says of the machine, None where nothing does; ``part`` is the
    number of the disk in it that this is about, 0 for the one that boots.
    """

    id: str
    name: str
    size_bytes: int
    disk_format: str = "vmdk"
    container_format: str = "bare"
    capacity_bytes: int | None = None
    checksum: str | None = None
    properties: ImageProperties = ImageProperties()
    package: ImagePackage | None = None
    part: int = 0

    @property
    def further_disks(self) -> tuple[ImageDisk, ...]:
        """The disks that an instance gets beside the one that boots."""
        return self.package.disks if self.package is not None else ()
