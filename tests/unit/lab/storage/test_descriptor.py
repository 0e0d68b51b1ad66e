from __future__ import annotations

import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.lab.storage import descriptor
from vmops.lab.storage.descriptor import Adapter, Descriptor, DescriptorError, Extent, geometry
from vmops.lab.storage.errors import InvalidDatastorePath
from vmops.lab.storage.paths import DatastorePath

GIB = 1024**3
VSPHERE = b"""# Disk DescriptorFile
version=3
encoding="UTF-8"
CID=3b5c0a02
parentCID=ffffffff
createType="vmfs"

# Extent description
RW 41943040 VMFS "vm-flat.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "buslogic"
ddb.geometry.cylinders = "2610"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.thinProvisioned = "1"
ddb.uuid = "60 00 C2 93 7b a0 3a 03-9f 22 56 29 93 b7 27 54"
ddb.virtualHWVersion = "14"
"""


def text(extent: str = 'RW 2048 VMFS "x-flat.vmdk"', **replaced: str) -> bytes:
    values = {"CID": "12345678", "parentCID": "ffffffff", "createType": '"vmfs"', **replaced}
    lines = ["# Disk DescriptorFile", *(f"{key}={value}" for key, value in values.items()), extent]
    return "\n".join(lines).encode()


def test_a_descriptor_of_vsphere_is_read() -> None:
    disk = Descriptor.parse(VSPHERE)
    assert disk.capacity_bytes == 20 * GIB
    assert disk.create_type == "vmfs"
    assert disk.adapter == "busLogic"
    assert disk.cid == "3b5c0a02"
    assert disk.parent_hint is None
    assert disk.uuid == "60 00 C2 93 7b a0 3a 03-9f 22 56 29 93 b7 27 54"
    assert disk.ddb["thinProvisioned"] == "1"
    assert disk.ddb["geometry.cylinders"] == "2610"


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_line_ends_padding_and_case_do_not_matter(ending: bytes) -> None:
    content = VSPHERE.replace(b"\n", ending).replace(b"parentCID", b"PARENTCID") + bytes(700)
    assert Descriptor.parse(content) == Descriptor.parse(VSPHERE)


SURROGATES: list[Literal["Cs"]] = ["Cs"]
FILE_NAMES = st.text(st.characters(exclude_categories=SURROGATES), min_size=1, max_size=30)


@given(FILE_NAMES, st.integers(1, 2**36), FILE_NAMES)
def test_what_is_written_is_read_back(name: str, sectors: int, hint: str) -> None:
    try:  # the names a disk can have
        names = [DatastorePath("ds").sibling(given).name for given in (name, hint)]
    except InvalidDatastorePath:
        return
    if any(set(given) & set('"\\') for given in names):
        return
    disk = Descriptor(
        create_type="vmfsSparse",
        extents=(Extent(sectors=sectors, kind="VMFSSPARSE", file_name=names[0]),),
        cid=descriptor.fresh_cid(),
        parent_cid="0000abcd",
        parent_hint=names[1],
        ddb=descriptor.disk_database(
            sectors * 512, "ide", descriptor.fresh_uuid(), descriptor.fresh_cid()
        ),
    )
    assert Descriptor.parse(disk.render().encode()) == disk


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x", "a/b", "..", ".", "", "a\\b", "/dev/sda", "json:{}/x", "http://h/x"],
)
def test_an_extent_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(DescriptorError, match="outside its folder"):
        Descriptor.parse(text(f'RW 2048 VMFS "{name}"'))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a VMDK"),
        (b"hello\n", "not a VMDK"),
        (b"\x7fELF" + bytes(5000), "not a VMDK"),
        (bytes(512), "not a VMDK"),
        (text() + b"\0\n# more", "NUL"),
        (text('RW 2048 VMFS "x\0-flat.vmdk"'), "NUL"),
        (text() + b"\n\xff\xfe", "not understood"),
        (text() + b"\nCID=00000001", "twice"),
        (text() + b"\nchangeTrackPath=x", "not known"),
        (text() + b"\n#" + b"x" * descriptor.LARGEST_DESCRIPTOR, "64 KiB"),
        (text(""), "no extents"),
        (text(CID="xyz"), "content id"),
        (text(CID="123456789"), "content id"),
        (text(parentCID=""), "content id"),
        (text('RW 999999999999999 VMFS "x-flat.vmdk"'), "62 TiB"),
        (text('RW 133143986177 VMFS "x-flat.vmdk"'), "62 TiB"),
        (text("RW 1" + "0" * 5000 + ' VMFS "x-flat.vmdk"'), "not understood"),
    ],
)
def test_a_bad_descriptor_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(DescriptorError, match=reason):
        Descriptor.parse(content)


@given(st.binary(max_size=300))
def test_noise_behind_the_signature_is_refused(content: bytes) -> None:
    with pytest.raises(DescriptorError):
        Descriptor.parse(b"# Disk DescriptorFile\n" + content)


@given(st.integers(1, 62 * 1024**4), st.sampled_from(["lsiLogic", "busLogic", "ide"]))
def test_geometry_fits_the_disk(capacity_bytes: int, adapter: Adapter) -> None:
    shape = geometry(capacity_bytes, adapter)
    per_cylinder = shape.heads * shape.sectors * 512
    assert shape.heads <= 255
    assert shape.sectors <= 63
    assert shape.cylinders >= 1
    if shape.cylinders > 1:
        assert shape.cylinders * per_cylinder <= capacity_bytes
    if adapter != "ide":
        assert capacity_bytes - shape.cylinders * per_cylinder < per_cylinder
    else:
        assert shape.cylinders <= 16383


@pytest.mark.parametrize(
    ("capacity_bytes", "adapter", "expected"),
    [
        (20 * GIB, "lsiLogic", (2610, 255, 63)),
        (GIB // 2, "lsiLogic", (512, 64, 32)),
        (GIB, "busLogic", (512, 128, 32)),
        (8 * GIB, "ide", (16383, 16, 63)),
        (4 * GIB, "ide", (8322, 16, 63)),
    ],
)
def test_geometry_is_what_vmware_writes(
    capacity_bytes: int, adapter: Adapter, expected: tuple[int, int, int]
) -> None:
    shape = geometry(capacity_bytes, adapter)
    assert (shape.cylinders, shape.heads, shape.sectors) == expected


def test_uuids_have_vmwares_form() -> None:
    uuids = {descriptor.fresh_uuid() for _ in range(50)}
    assert len(uuids) == 50
    form = re.compile(r"60 00 C2 9[0-9a-f]( [0-9a-f]{2}){4}-[0-9a-f]{2}( [0-9a-f]{2}){7}")
    assert all(form.fullmatch(uuid) for uuid in uuids)


@pytest.mark.parametrize(
    "given_form",
    [
        "6000C2937ba03a039f22562993b72754",
        "6000C293-7ba0-3a03-9f22-562993b72754",
        "60 00 c2 93 7b a0 3a 03-9f 22 56 29 93 b7 27 54",
    ],
)
def test_a_uuid_is_accepted_in_any_grouping(given_form: str) -> None:
    expected = "60 00 C2 93 7b a0 3a 03-9f 22 56 29 93 b7 27 54"
    assert descriptor.normal_uuid(given_form) == expected


def test_a_uuid_that_is_none_never_leaves_the_descriptor() -> None:
    disk = Descriptor.parse(text() + b'\nddb.uuid = "x,file=/etc/passwd"\n')
    assert disk.uuid == ""
