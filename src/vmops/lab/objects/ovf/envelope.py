"""OVF descriptors, read: what an envelope says of the one virtual machine in it.

Nothing outside of the text is looked at. Names are compared without their namespaces: versions and
vendors of the format differ in these, and in nothing that is read here.

See: DMTF DSP0243, Open Virtualization Format Specification; CIM_ResourceAllocationSettingData.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from pyVmomi import vim

_Element = ElementTree.Element
_UNIT = re.compile(r"byte\s*\*\s*2\s*\^\s*([0-9]{1,2})", re.IGNORECASE)
_NAMED_UNITS = {"": 0, "byte": 0, "bytes": 0, "kilobytes": 10, "megabytes": 20, "gigabytes": 30}
_REFERENCE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfFile:
    """A file of the package."""

    href: str
    size: int | None
    chunk_size: int | None
    compression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfDisk:
    """A disk; ``file`` is what is in it, None if it is empty."""

    capacity_bytes: int
    file: OvfFile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfProperty:
    """What a user can set of a product."""

    key: str
    class_id: str
    instance_id: str
    type: str
    value: str
    label: str
    description: str
    user_configurable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfProduct:
    """What a product section says."""

    name: str = ""
    vendor: str = ""
    version: str = ""
    full_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfItem:
    """A piece of hardware: the texts of its elements, and of the vendor's own configuration."""

    texts: Mapping[str, str]
    resources: tuple[str, ...]
    connections: tuple[str, ...]
    config: Mapping[str, str]
    is_required: bool

    def text(self, name: str) -> str:
        """Return an element's text, "" if it is not there."""
        return self.texts.get(name, "")

    def number(self, name: str, default: int = 0) -> int:
        """Return an element that is a number.

        Raises:
            vim.fault.OvfElementInvalidValue: it is none.
        """
        text = self.text(name)
        if not text:
            return default
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise invalid_value(name, text)
        return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """All that is read of a descriptor."""

    name: str
    annotation: str
    eulas: tuple[str, ...]
    networks: Mapping[str, str]
    """Name to description."""
    files: Mapping[str, OvfFile]
    disks: Mapping[str, OvfDisk]
    items: tuple[OvfItem, ...]
    hardware_families: tuple[str, ...]
    config: Mapping[str, str]
    extra_config: Mapping[str, str]
    os_id: int
    os_type: str
    os_description: str
    product: OvfProduct = OvfProduct()
    properties: tuple[OvfProperty, ...] = ()
    options: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Deployment options: key to label and description, the default one first."""
    is_collection: bool = False


def read_envelope(text: str, option: str = "") -> Envelope:
    """Read a descriptor, as it is with one of its deployment options.

    Raises:
        vim.fault.OvfXmlFormat: it is no XML, or has a document type.
        vim.fault.OvfMissingElement, vim.fault.OvfElementInvalidValue: it is no OVF envelope.
        vim.fault.OvfUnsupportedPackage: there is no such deployment option.
    """
    root = _root(text)
    options = _options(root)
    if option and option not in options:
        raise vim.fault.OvfUnsupportedPackage(msg=f"There is no deployment option '{option}'.")
    chosen = option or next(iter(options), "")
    collection = root.find("{*}VirtualSystemCollection")
    systems = list((root if collection is None else collection).iterfind("{*}VirtualSystem"))
    if collection is not None:
        systems = systems or [collection]
    if not systems:
        raise _missing("VirtualSystem")
    system = systems[0]
    properties = tuple(_properties(system, chosen))
    values = {each.key: each.value for each in properties}
    files = {_attribute(each, "id"): _file(each) for each in root.iterfind("{*}References/{*}File")}
    hardware = system.find("{*}VirtualHardwareSection")
    if hardware is None and collection is None:
        raise _missing("VirtualHardwareSection")
    items = [] if hardware is None else _items(hardware, chosen)
    os = system.find("{*}OperatingSystemSection")
    return Envelope(
        name=_child(system, "Name") or _attribute(system, "id"),
        annotation=_child(system.find("{*}AnnotationSection"), "Annotation"),
        eulas=tuple(
            _child(each, "License") for each in root.iter() if _local(each) == "EulaSection"
        ),
        networks={
            _attribute(each, "name"): _child(each, "Description")
            for each in root.iterfind("{*}NetworkSection/{*}Network")
        },
        files=files,
        disks={
            _attribute(each, "diskId"): _disk(each, files, values)
            for each in root.iterfind("{*}DiskSection/{*}Disk")
        },
        items=tuple(items),
        hardware_families=tuple(_child(_system_of(hardware), "VirtualSystemType").split()),
        config={} if hardware is None else _pairs(hardware, "Config"),
        extra_config={} if hardware is None else _pairs(hardware, "ExtraConfig"),
        os_id=_integer("OperatingSystemSection", _attribute(os, "id") or "1"),
        os_type=_attribute(os, "osType"),
        os_description=_child(os, "Description"),
        product=_product(system),
        properties=properties,
        options=options,
        is_collection=collection is not None,
    )


def unit_bytes(text: str, what: str) -> int:
    """Return how many bytes a unit stands for.

    Raises:
        vim.fault.OvfElementInvalidValue: it is unknown.
    """
    found = _UNIT.fullmatch(text.strip())
    if found is not None and int(found[1]) <= 60:
        return 1 << int(found[1])
    power = _NAMED_UNITS.get(text.strip().lower())
    if power is None:
        raise invalid_value(what, text)
    return 1 << power


def invalid_value(name: str, value: str) -> vim.fault.OvfElementInvalidValue:
    """Build the fault for an element's value that cannot be."""
    return vim.fault.OvfElementInvalidValue(
        lineNumber=0, name=name, value=value, msg=f"'{value}' is not a value of {name}."
    )


def _missing(name: str) -> vim.fault.OvfMissingElement:
    return vim.fault.OvfMissingElement(
        lineNumber=0, name=name, msg=f"The descriptor has no {name}."
    )


def _root(text: str) -> _Element:
    if "<!DOCTYPE" in text:
        raise _no_xml(0, "A document type is not allowed.")
    try:
        # Entities need a document type, and nothing else can be fetched or grow.
        root = ElementTree.fromstring(text)  # noqa: S314
    except ElementTree.ParseError as error:
        raise _no_xml(error.position[0], str(error)) from error
    except ValueError as error:
        raise _no_xml(0, str(error)) from error
    if _local(root) != "Envelope":
        raise _missing("Envelope")
    return root


def _no_xml(line: int, why: str) -> vim.fault.OvfXmlFormat:
    return vim.fault.OvfXmlFormat(
        lineNumber=line, description=why, msg=f"The descriptor is not XML: {why}"
    )


def _local(element: _Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _attribute(element: _Element | None, name: str) -> str:
    if element is None:
        return ""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return ""


def _child(element: _Element | None, name: str) -> str:
    found = None if element is None else element.find(f"{{*}}{name}")
    return "" if found is None else (found.text or "").strip()


def _integer(what: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise invalid_value(what, text)
    return int(text)


def _options(root: _Element) -> dict[str, tuple[str, str]]:
    found = {}
    default = ""
    for each in root.iterfind("{*}DeploymentOptionSection/{*}Configuration"):
        key = _attribute(each, "id")
        found[key] = (_child(each, "Label") or key, _child(each, "Description"))
        if _attribute(each, "default") == "true":
            default = key
    if default:
        found = {default: found[default], **found}
    return found


def _file(element: _Element) -> OvfFile:
    size, chunk = _attribute(element, "size"), _attribute(element, "chunkSize")
    return OvfFile(
        href=_attribute(element, "href"),
        size=_integer("size", size) if size else None,
        chunk_size=_integer("chunkSize", chunk) if chunk else None,
        compression=_attribute(element, "compression"),
    )


def _disk(element: _Element, files: Mapping[str, OvfFile], values: Mapping[str, str]) -> OvfDisk:
    capacity = _REFERENCE.sub(
        lambda found: values.get(found[1], found[0]), _attribute(element, "capacity")
    )
    unit = unit_bytes(_attribute(element, "capacityAllocationUnits"), "capacityAllocationUnits")
    reference = _attribute(element, "fileRef")
    if reference and reference not in files:
        raise invalid_value("fileRef", reference)
    return OvfDisk(
        capacity_bytes=_integer("capacity", capacity) * unit,
        file=files[reference] if reference else None,
    )


def _system_of(hardware: _Element | None) -> _Element | None:
    return None if hardware is None else hardware.find("{*}System")


def _pairs(element: _Element, name: str) -> dict[str, str]:
    return {
        _attribute(each, "key"): _attribute(each, "value")
        for each in element.iterfind(f"{{*}}{name}")
    }


def _items(hardware: _Element, option: str) -> list[OvfItem]:
    """Return the hardware with a deployment option, whose items replace those it also says."""
    found: dict[str, OvfItem] = {}
    for each in hardware:
        if _local(each) not in {"Item", "StorageItem", "EthernetPortItem"}:
            continue
        if option not in (wanted := _attribute(each, "configuration").split()) and wanted:
            continue
        item = _item(each)
        found[item.text("InstanceID") or f"?{len(found)}"] = item
    return list(found.values())


def _item(element: _Element) -> OvfItem:
    texts: dict[str, str] = {}
    many: dict[str, list[str]] = {"HostResource": [], "Connection": []}
    for child in element:
        name, text = _local(child), (child.text or "").strip()
        many.get(name, []).append(text)
        texts.setdefault(name, text)
        if name == "CoresPerSocket":
            texts[name] = text
    return OvfItem(
        texts=texts,
        resources=tuple(many["HostResource"]),
        connections=tuple(many["Connection"]),
        config=_pairs(element, "Config"),
        is_required=_attribute(element, "required") != "false",
    )


def _product(system: _Element) -> OvfProduct:
    section = system.find("{*}ProductSection")
    return OvfProduct(
        name=_child(section, "Product"),
        vendor=_child(section, "Vendor"),
        version=_child(section, "Version"),
        full_version=_child(section, "FullVersion"),
    )


def _properties(system: _Element, option: str) -> Iterator[OvfProperty]:
    for section in system.iterfind("{*}ProductSection"):
        class_id, instance_id = _attribute(section, "class"), _attribute(section, "instance")
        for each in section.iterfind("{*}Property"):
            value = _attribute(each, "value")
            for special in each.iterfind("{*}Value"):
                if _attribute(special, "configuration") == option:
                    value = _attribute(special, "value")
            yield OvfProperty(
                key=_attribute(each, "key"),
                class_id=class_id,
                instance_id=instance_id,
                type=_attribute(each, "type") or "string",
                value=value,
                label=_child(each, "Label"),
                description=_child(each, "Description"),
                user_configurable=_attribute(each, "userConfigurable") == "true",
            )
