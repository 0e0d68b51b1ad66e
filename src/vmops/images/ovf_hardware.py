"""What an OVF descriptor means to us: the disks, which of them boots, and defaults for the rest.

What an image's own properties or a call say counts before it. What is understood but not done is
noted for people; what cannot be understood about a disk is refused.

See: DMTF DSP0243, "Virtual hardware section"; CIM_ResourceAllocationSettingData.ResourceType.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from vmops.errors import ImageNotAcceptable
from vmops.images import ovf
from vmops.images.ovf import Element
from vmops.model.image import VIF_MODELS, AdapterType
from vmops.numbers import INT_MAX, whole_number

_CPU, _MEMORY, _IDE, _SCSI, _NIC, _DISK, _OTHER_STORAGE = "3", "4", "5", "6", "10", "17", "20"
# Every machine has these anyway, or has them where they are asked for.
_GIVEN_ANYWAY = {"1", "8", "13", "14", "15", "16", "24"}
_OTHERS = {"21": "serial port", "22": "parallel port", "23": "USB controller", "35": "sound card"}
_SCSI_WORDS = {
    "lsilogic": AdapterType.LSI_LOGIC,
    "lsilogicsas": AdapterType.LSI_LOGIC_SAS,
    "buslogic": AdapterType.BUS_LOGIC,
    "virtualscsi": AdapterType.PARA_VIRTUAL,
    "pvscsi": AdapterType.PARA_VIRTUAL,
}
_OTHER_WORDS = {
    "ahci": AdapterType.SATA,
    "vmware.sata.ahci": AdapterType.SATA,
    "vmware.nvme.controller": AdapterType.NVME,
    "nvme": AdapterType.NVME,
    "nvmhci": AdapterType.NVME,
}
# In the order in which a machine's firmware looks for a disk to boot from.
_BUSES = (AdapterType.IDE, AdapterType.LSI_LOGIC, AdapterType.SATA, AdapterType.NVME)
_GUEST_ID = re.compile(r"[A-Za-z0-9_]{1,60}Guest(64)?")
# CIM_OperatingSystem.OSType, of those that have one name on vSphere.
_OS_TYPES = {
    "36": "otherLinuxGuest",
    "79": "rhel7Guest",
    "80": "rhel7_64Guest",
    "93": "ubuntuGuest",
    "94": "ubuntu64Guest",
    "101": "otherLinux64Guest",
    "102": "otherGuest64",
}
_UNIT = re.compile(r"byte[ ]*(?:\*[ ]*(?P<base>2|10|1024)[ ]*(?:\^[ ]*(?P<exponent>[0-9]{1,2}))?)?")
_OLD_UNITS = {"bytes": 1, "kilobytes": 2**10, "megabytes": 2**20, "gigabytes": 2**30}
_MOST_TOLD = 12
_MAX_DISKS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfDisk:
    """A disk of the machine. ``file`` "" is a blank one, of ``capacity_bytes``."""

    file: str
    capacity_bytes: int
    adapter: AdapterType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfFacts:
    """What a descriptor says. Of the disks the first boots; 0 leaves processors and memory open.

    ``properties`` are Glance's; ``notes`` say what is not done, in sentences.
    """

    disks: tuple[OvfDisk, ...]
    properties: dict[str, str]
    vcpus: int = 0
    memory_mib: int = 0
    notes: tuple[str, ...] = ()


def read_facts(content: bytes) -> OvfFacts:
    """What the descriptor says of its one machine.

    Raises:
        ImageNotAcceptable: it is no such descriptor, names no disk of a file, or says of a disk
            what cannot be done.
    """
    elements = ovf.read(content)
    if sum(e.name == "VirtualSystem" for e in elements) > 1:
        raise ImageNotAcceptable(
            "The archive's .ovf describes several machines; an instance is one. Export one alone."
        )
    reading = _Reading(elements)
    reading.hardware()
    reading.settings()
    disks = reading.disks()
    return OvfFacts(
        disks=tuple(disks),
        properties=reading.properties,
        vcpus=reading.vcpus,
        memory_mib=reading.memory_mib,
        notes=tuple(reading.notes),
    )


class _Reading:
    """Goes through the elements of a descriptor and collects what they mean."""

    def __init__(self, elements: Iterable[Element]) -> None:
        self._by_name: dict[str, list[Element]] = {}
        for element in elements:
            self._by_name.setdefault(element.name, []).append(element)
        self._items = _chosen_items(self._by_name)
        self.properties: dict[str, str] = {}
        self.notes: list[str] = []
        self.vcpus = self.memory_mib = 0

    def hardware(self) -> None:
        """Processors, memory, network cards, and what else there may be."""
        models: list[str] = []
        left: list[str] = []
        for item in self._items:
            kind = item.text("ResourceType")
            if kind == _CPU:
                self.vcpus = self._quantity(item, "processors", lambda _unit: 1)
            elif kind == _MEMORY:
                found = self._quantity(item, "memory", _factor)
                self.memory_mib = -(-found // 2**20)
            elif kind == _NIC:
                models.append(self._nic_model(item))
            elif kind in _OTHERS:
                left.append(_OTHERS[kind])
            elif kind not in {_IDE, _SCSI, _DISK, _OTHER_STORAGE, *_GIVEN_ANYWAY}:
                left.append(f"resource type {kind[:20] or 'none'}")
            if kind in {"15", "16"} and item.text("HostResource"):
                left.append("image in a CD-ROM drive")
        if known := [model for model in models if model]:
            self.properties["hw_vif_model"] = known[0]
            if len(set(known)) > 1:
                self.notes.append(
                    f"Its network cards are of several models; all become {known[0]} unless an"
                    " interface says otherwise."
                )
        if left:
            self.notes.append(f"Not made: {_listed(left)}.")

    def settings(self) -> None:
        """The guest's name, the firmware, and settings of vSphere's own."""
        for system in self._by_name.get("OperatingSystemSection", ())[:1]:
            told = system.get("osType").lstrip("*")
            guest_id = told or _OS_TYPES.get(system.get("id"), "")
            if _GUEST_ID.fullmatch(guest_id):
                self.properties["vmware_ostype"] = guest_id
            else:
                self.notes.append(
                    f"Its guest OS ({(told or system.get('id'))[:60]}) has no guest id here;"
                    " give one as vmware_ostype."
                )
        left = []
        for config in self._by_name.get("Config", ()):
            key, value = config.get("key"), config.get("value").lower()
            if key == "firmware" and value in {"bios", "efi"}:
                self.properties["hw_firmware_type"] = "uefi" if value == "efi" else "bios"
            elif key in {"bootOptions.efiSecureBootEnabled", "uefi.secureBoot.enabled"}:
                if value == "true":
                    self.properties["os_secure_boot"] = "optional"
            elif not (value in {"false", "default", ""} or key.startswith("tools.")):
                left.append(key)
        left += [extra.get("key") for extra in self._by_name.get("ExtraConfig", ())]
        if left:
            self.notes.append(f"Settings that are not taken over: {_listed(left)}.")
        if properties := self._by_name.get("Property"):
            self.notes.append(
                "Its guest expects properties that are not given to it:"
                f" {_listed([one.get('key') for one in properties])}."
            )

        if sections := self._by_name.get(ovf.UNKNOWN):
            names = _listed([one.get("name") for one in sections])
            self.notes.append(f"Sections that are not understood: {names}.")
        if self._by_name.get("BootDeviceSection"):
            self.notes.append("Its boot devices by configuration are not taken over.")

    def disks(self) -> list[OvfDisk]:
        """The disks, the one that boots first."""
        files = {f.get("id"): f for f in self._by_name.get("File", ())}
        listed = {}
        for disk in self._by_name.get("Disk", ()):
            if disk.get("diskId") in listed:
                raise ImageNotAcceptable(
                    f"The archive's .ovf has two disks {disk.get('diskId')[:60]!r}."
                )
            listed[disk.get("diskId")] = disk
        placed = self._placed(listed)
        if not placed:  # it says nothing of places: the order is that of its disks
            placed = [(None, disk) for disk in listed.values()]
        found = [_disk(disk, adapter, files) for adapter, disk in placed]
        if len(found) > _MAX_DISKS:
            raise ImageNotAcceptable(f"The archive's .ovf has {len(found)} disks.")
        boot = next((disk for disk in found if disk.file), None)
        if boot is None:
            raise ImageNotAcceptable(
                "The archive's .ovf names no disk: it has no VMDK to spawn from."
            )
        names = [disk.file for disk in found if disk.file]
        if len(set(names)) < len(names):
            raise ImageNotAcceptable("The archive's .ovf has one file for two disks.")
        if boot.adapter is not None:
            self.properties["vmware_adaptertype"] = boot.adapter.value
        return [boot, *(disk for disk in found if disk is not boot)]

    def _placed(self, listed: dict[str, Element]) -> list[tuple[AdapterType | None, Element]]:
        """The disks that the hardware has, in the order in which the firmware sees them."""
        controllers = {
            item.text("InstanceID"): (self._adapter(item), item.text("Address"))
            for item in self._items
            if item.text("ResourceType") in {_IDE, _SCSI, _OTHER_STORAGE}
        }
        first = self._boot_order()
        placed = []
        for item in self._items:
            if item.text("ResourceType") != _DISK:
                continue
            name = item.text("HostResource").rpartition("/")[2]
            disk = listed.get(name)
            if disk is None:
                raise ImageNotAcceptable(
                    f"The archive's .ovf attaches a disk {name[:60]!r} that it does not have."
                )
            adapter, bus = controllers.get(item.text("Parent"), (None, ""))
            place = (
                first.get(item.text("InstanceID"), len(first)),
                _bus_order(adapter),
                _number(bus),
                _number(item.text("AddressOnParent")),
            )
            placed.append((place, adapter, disk))
        used = {id(disk) for _, _, disk in placed}
        if placed and (loose := [n for n, disk in listed.items() if id(disk) not in used]):
            self.notes.append(f"Disks that its hardware does not have: {_listed(loose)}.")
        placed.sort(key=lambda each: each[0])
        return [(adapter, disk) for _, adapter, disk in placed]

    def _boot_order(self) -> dict[str, int]:
        """The instance ids of the disks that vSphere's own section names to boot, in its order."""
        found: dict[str, int] = {}
        for section in self._by_name.get("BootOrderSection", ()):
            kind = section.get("type").lower()
            if kind == "disk":
                found.setdefault(section.get("instanceId"), len(found))
            else:
                self.notes.append(f"Its boot order has {kind[:20]!r}, which is not taken over.")
        return found

    def _adapter(self, item: Element) -> AdapterType | None:
        kind = item.text("ResourceType")
        if kind == _IDE:
            return AdapterType.IDE
        words = _SCSI_WORDS if kind == _SCSI else _OTHER_WORDS
        told = item.text("ResourceSubType")
        for word in told.lower().split():
            if word in words:
                return words[word]
        if kind == _SCSI and not told:
            return AdapterType.LSI_LOGIC
        self.notes.append(
            f"Its disk controller {told[:40]!r} is of no kind that is known; its disks get the"
            " image's adapter."
        )
        return None

    def _nic_model(self, item: Element) -> str:
        told = item.text("ResourceSubType")
        for word in told.lower().split():
            for name in (word, word.removesuffix("32"), word.removesuffix("2")):
                if name in VIF_MODELS:
                    return VIF_MODELS[name].word.removesuffix("32")
        if told:
            self.notes.append(f"Its network card {told[:40]!r} is of no model that is known.")
        return ""

    def _quantity(self, item: Element, what: str, factor: Callable[[str], int | None]) -> int:
        number = whole_number(item.text("VirtualQuantity"), INT_MAX)
        unit = factor(item.text("AllocationUnits"))
        if number is None or unit is None:
            self.notes.append(f"What it says of {what} is not understood.")
            return 0
        return number * unit


def _chosen_items(by_name: dict[str, list[Element]]) -> list[Element]:
    """The items of the default deployment: those without one, and what it puts in their place."""
    configurations = by_name.get("Configuration", ())
    named = [c.get("id") for c in configurations if c.get("default").lower() in {"true", "1"}]
    chosen = (named or [c.get("id") for c in configurations] or [""])[0]
    kept: dict[object, Element] = {}
    for item in sorted(
        (i for kind in ("Item", "StorageItem", "EthernetPortItem") for i in by_name.get(kind, ())),
        key=lambda i: bool(i.get("configuration")),
    ):
        wanted = item.get("configuration").split()
        if not wanted or chosen in wanted:
            kept[item.text("InstanceID") or id(item)] = item
    return list(kept.values())


def _disk(disk: Element, adapter: AdapterType | None, files: dict[str, Element]) -> OvfDisk:
    if disk.get("parentRef"):
        raise ImageNotAcceptable("A disk in the archive is only what differs from another one.")
    reference = disk.get("fileRef")
    if not reference:
        return OvfDisk(file="", capacity_bytes=_capacity(disk), adapter=adapter)
    file = files.get(reference)
    href = "" if file is None else file.get("href")
    if file is None or not href:
        raise ImageNotAcceptable(
            f"The archive's .ovf has a disk of a file {reference[:60]!r} that it does not name."
        )
    if file.get("compression") not in {"", "identity"} or file.get("chunkSize"):
        raise ImageNotAcceptable(
            f"The disk {href[:80]!r} in the archive is compressed or in parts."
        )
    return OvfDisk(file=unquote(href), capacity_bytes=0, adapter=adapter)


def _capacity(disk: Element) -> int:
    number = whole_number(disk.get("capacity"))
    factor = _factor(disk.get("capacityAllocationUnits") or "byte")
    if not number or factor is None:
        raise ImageNotAcceptable(
            f"The blank disk {disk.get('diskId')[:60]!r} of the archive's .ovf has no size that is"
            f" understood: {disk.get('capacity')[:40]!r}."
        )
    return number * factor


def _factor(unit: str) -> int | None:
    """Bytes of an allocation unit such as "byte * 2^20" or "MegaBytes"; None: not understood."""
    text = unit.strip().lower()
    if text in _OLD_UNITS:
        return _OLD_UNITS[text]
    match = _UNIT.fullmatch(text)
    if match is None:
        return None
    if match["base"] is None:
        return 1
    factor: int = int(match["base"]) ** int(match["exponent"] or "1")
    return factor


def _bus_order(adapter: AdapterType | None) -> int:
    return _BUSES.index(adapter) if adapter in _BUSES else _BUSES.index(AdapterType.LSI_LOGIC)


def _number(text: str) -> int:
    number = whole_number(text, INT_MAX)
    return INT_MAX if number is None else number


def _listed(names: Iterable[str]) -> str:
    different = list(dict.fromkeys(name[:60] for name in names))
    more = len(different) - _MOST_TOLD
    return ", ".join(different[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")
