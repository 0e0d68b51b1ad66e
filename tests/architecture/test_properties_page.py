"""The page of properties and settings tells all that the code reads, and nothing else."""

from __future__ import annotations

import ast
import dataclasses
import re
from enum import StrEnum

import pytest

from tests.architecture import source
from vmops.model.hardware import SecureBoot
from vmops.model.image import (
    CONFIG_DRIVES,
    FIRMWARES,
    SCSI_MODELS,
    AdapterType,
    DiskType,
    ImageProperties,
)
from vmops.model.properties import FLAVOR_PROPERTIES, IMAGE_PROPERTIES
from vmops.model.size import SharesLevel
from vmops.model.topology import CpuTopology
from vmops.ops.engine.settings import EngineSettings
from vmops.ops.vmops.block_devices import parse_attachment, parse_block_devices

PAGE = source.PROJECT / "docs/properties.md"
READERS = {f"src/vmops/model/{name}.py" for name in ("hardware", "size", "topology", "image")}
READERS.add("src/vmops/ops/vmops/shapes.py")
OF_FLAVORS = re.compile(r"(?:quota|vmware|hw|hw_video|os):\w*[a-z]")
OF_IMAGES = re.compile(r"(?:hw|vmware|os|img)_\w*[a-z]")
SUFFIX = re.compile(r"_\w*[a-z]")


def sections() -> dict[str, str]:
    """The text of the page by its headings."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table under a heading, by the names in their first cell."""
    found: dict[str, list[str]] = {}
    for line in sections()[heading].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells)
    return found


def words(heading: str, name: str) -> set[str]:
    """The values that the page gives for a property."""
    return set(re.findall(r"`([^`]+)`", rows(heading)[name][1]))


def literals() -> set[str]:
    """Every text in the code that reads properties."""
    return {
        node.value
        for path, tree in source.modules()
        if path in READERS
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def allocations() -> set[str]:
    """The properties of allocations: of each resource that the border asks for, each thing."""
    trees = dict(source.modules())
    resources = {
        str(name.value)
        for call in ast.walk(trees["src/vmops/ops/vmops/shapes.py"])
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"from_extra_specs", "if_asked"}
        and len(call.args) == 2
        and isinstance(name := call.args[1], ast.Constant)
    }
    suffixes = {
        last.value
        for text in ast.walk(trees["src/vmops/model/size.py"])
        if isinstance(text, ast.JoinedStr)
        and isinstance(last := text.values[-1], ast.Constant)
        and isinstance(last.value, str)
        and SUFFIX.fullmatch(last.value)
    }
    return {f"quota:{resource}{suffix}" for resource in resources for suffix in suffixes}


def test_every_property_of_flavors_is_told_and_read() -> None:
    read = {text for text in literals() if OF_FLAVORS.fullmatch(text)} | allocations()
    read |= {f"hw:cpu_{word}" for word in ("threads", *CpuTopology.WORDS)}
    assert {"quota:vif_shares_share", "vmware:storage_policy", "os:secure_boot"} < read
    assert set(rows("Flavor properties")) == read == set(FLAVOR_PROPERTIES)


def test_every_property_of_images_is_told_and_read() -> None:
    read = {text for text in literals() if OF_IMAGES.fullmatch(text)}
    read |= {f"hw_cpu_{word}" for word in ("threads", *CpuTopology.WORDS)}
    assert {"hw_vif_model", "os_distro", "img_config_drive"} < read
    assert set(rows("Image properties")) == read == set(IMAGE_PROPERTIES)


@pytest.mark.parametrize(
    ("heading", "name", "known"),
    [
        ("Flavor properties", "quota:cpu_shares_level", set(SharesLevel)),
        ("Flavor properties", "os:secure_boot", set(SecureBoot)),
        ("Image properties", "os_secure_boot", set(SecureBoot)),
        ("Image properties", "vmware_disktype", set(DiskType)),
        ("Image properties", "vmware_adaptertype", set(AdapterType) | set(SCSI_MODELS)),
        ("Image properties", "hw_firmware_type", set(FIRMWARES)),
        ("Image properties", "img_config_drive", set(CONFIG_DRIVES)),
    ],
)
def test_the_values_are_those_that_are_taken(
    heading: str, name: str, known: set[StrEnum | str]
) -> None:
    assert words(heading, name) == {str(word) for word in known}


def test_what_images_get_without_a_property_is_what_the_page_says() -> None:
    told = {
        name: found[1]
        for name, cells in rows("Image properties").items()
        if (found := re.fullmatch(r"`(\w+)`", cells[2]))
    }
    assert told
    assert ImageProperties.from_mapping(told) == ImageProperties()


def test_every_setting_is_told_with_its_default() -> None:
    told = rows("Settings of the engine")
    settings = {each.name: each for each in dataclasses.fields(EngineSettings)}
    assert set(told) == set(settings)
    for name, cells in told.items():
        default = settings[name].default
        if default is dataclasses.MISSING or default in ("", None):
            assert "`" not in cells[1], name
        else:
            assert cells[1] == f"`{default}`", name


def test_block_devices_are_read_as_the_page_says() -> None:
    told = sections()["block_device_info"]
    connection = {
        "driver_volume_type": "vstorageobject",
        "data": {"id": "fcd-1", "ds_ref_val": "datastore-1", "volume_id": "v1", "profile_id": "p"},
    }
    entry = {"connection_info": connection, "mount_device": "/dev/sda", "disk_bus": "scsi"}
    shape = {
        "root_device_name": "sda",
        "block_device_mapping": [entry],
        "ephemerals": [{"size": 2, "disk_bus": "ide"}],
        "swap": {"swap_size": 256},
    }
    devices = parse_block_devices(shape)
    assert devices.root_volume is not None
    assert devices.root_volume.volume.profile_id == "p"
    assert (devices.ephemerals[0].size_gib, devices.swap_mib) == (2, 256)
    assert parse_attachment(connection).volume == devices.root_volume.volume
    for key in (*shape, *entry, *connection["data"], "size", "swap_size"):
        assert f"`{key}`" in told, key
