"""A hostile VMDK is refused wherever it lies: bare, in an OVA, in a store elsewhere, in the lab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image_files import Remote, an_archive, an_ovf
from tests.vmdk_files import CAPACITY, DESCRIPTOR, SECTOR, streamed
from vmops.errors import ImageNotAcceptable
from vmops.images import content
from vmops.images.inspection import inspect
from vmops.lab.storage.errors import InvalidDisk
from vmops.lab.storage.layers import DiskFile
from vmops.lab.storage.sparse import SparseLayer
from vmops.model.image import AdapterType, DiskType, Image, ImageProperties

REFUSED = (ImageNotAcceptable, InvalidDisk)


def bare(folder: Path, vmdk: bytes) -> None:
    (folder / "disk.vmdk").write_bytes(vmdk)
    inspect(folder / "disk.vmdk")


def in_an_ova(folder: Path, vmdk: bytes) -> None:
    inspect(an_archive(folder / "a.ova", {"a.ovf": an_ovf(), "first.vmdk": vmdk}))


def elsewhere(folder: Path, vmdk: bytes) -> None:
    store = Remote(vmdk)
    content.complete(store, _streamed(store.image()))


def elsewhere_in_an_ova(folder: Path, vmdk: bytes) -> None:
    archive = an_archive(folder / "a.ova", {"a.ovf": an_ovf(), "first.vmdk": vmdk})
    store = Remote(archive.read_bytes())
    content.complete(store, store.image(container_format="ova"))


def in_the_lab(folder: Path, vmdk: bytes) -> None:
    (folder / "disk.vmdk").write_bytes(vmdk)
    layer = SparseLayer(DiskFile(folder / "disk.vmdk", "[ds] disk.vmdk"))
    try:
        for run in layer.runs(0, layer.capacity_bytes):
            assert run.end > run.start
    finally:
        layer.close()


def _streamed(image: Image) -> Image:
    properties = ImageProperties(disk_type=DiskType.STREAM_OPTIMIZED)
    return Image(**{name: getattr(image, name) for name in image.__slots__}
                 | {"properties": properties})  # fmt: skip


PLACES = [bare, in_an_ova, elsewhere, elsewhere_in_an_ova, in_the_lab]
WITH_TABLES = [bare, in_an_ova, in_the_lab]
"""Those that have all of the file; the others see its beginning only, before they send it."""

everywhere = pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)


def changed(old: str, new: str) -> str:
    assert old in DESCRIPTOR
    return DESCRIPTOR.replace(old, new)


EXTENT = 'RW 2048 SPARSE "disk.vmdk"'
HOSTILE = {
    "a parent": changed("parentCID=ffffffff", "parentCID=12345678"),
    "a parent's name": DESCRIPTOR + 'parentFileNameHint="/etc/passwd"\n',
    "a parent's name in capitals": DESCRIPTOR + 'PARENTFILENAMEHINT = "/etc/passwd"\n',
    "a second extent": changed(EXTENT, f'{EXTENT}\nRW 2048 SPARSE "other.vmdk"'),
    "a flat extent beside it": changed(EXTENT, f'{EXTENT}\nRW 2048 FLAT "/etc/passwd" 0'),
    "a flat extent": changed(EXTENT, 'RW 2048 FLAT "disk.vmdk" 0'),
    "no extent": changed(EXTENT, ""),
    "a name with a path": changed('"disk.vmdk"', '"/etc/passwd"'),
    "a name that goes up": changed('"disk.vmdk"', '"../disk.vmdk"'),
    "a name with a backslash": changed('"disk.vmdk"', '"..\\\\disk.vmdk"'),
    "a name that is the folder's": changed('"disk.vmdk"', '".."'),
    "a change tracking file": DESCRIPTOR + 'changeTrackPath="/etc/passwd"\n',
    "a key that is not known": DESCRIPTOR + "frobnicate=1\n",
    "a line that is not understood": DESCRIPTOR + "frobnicate\n",
    "a type twice": DESCRIPTOR + 'createType="monolithicFlat"\n',
    "a type twice in capitals": DESCRIPTOR + 'CREATETYPE="monolithicFlat"\n',
    "a split disk": changed("streamOptimized", "twoGbMaxExtentSparse"),
    "a disk of ESX": changed("streamOptimized", "vmfs"),
    "a device": changed("streamOptimized", "fullDevice"),
    "no type": changed('createType="streamOptimized"\n', ""),
    "text behind its end": DESCRIPTOR + '\0parentFileNameHint="/etc/passwd"\n',
}


@everywhere
@pytest.mark.parametrize("what", HOSTILE)
def test_a_descriptor_that_leads_elsewhere_is_refused(
    tmp_path: Path, what: str, place: Callable[[Path, bytes], None]
) -> None:
    with pytest.raises(REFUSED):
        place(tmp_path, streamed(HOSTILE[what]))


SOUND: dict[str, str | bytes] = {
    "as written": DESCRIPTOR,
    "line ends of DOS": DESCRIPTOR.replace("\n", "\r\n"),
    "blanks": DESCRIPTOR.replace("=", " = "),
    "an encoding": changed("version=1", 'version=1\nencoding="UTF-8"'),
    "a name in UTF-8": changed("disk.vmdk", "büro-日本.vmdk"),
    "a name in an older encoding": changed("disk.vmdk", "büro.vmdk").encode("latin-1"),
    "read only": changed("RW 2048", "RDONLY 2048"),
    "a comment": DESCRIPTOR + "# parentFileNameHint is none\n",
    "keys of the disk database": DESCRIPTOR + 'ddb.comment = "a = b"\nddb.toolsVersion = "0"\n',
}


@everywhere
@pytest.mark.parametrize("what", SOUND)
def test_what_tools_write_is_taken(
    tmp_path: Path, what: str, place: Callable[[Path, bytes], None]
) -> None:
    place(tmp_path, streamed(SOUND[what]))


@everywhere
@pytest.mark.parametrize(
    "changes",
    [{"entries": 1}, {"entries": 4096}, {"entries": 0}, {"grain": 1}, {"grain": 7}, {"grain": 4},
     {"grain": 4096}, {"version": 9}, {"capacity": 0}, {"capacity": 2**63}, {"at": 2**62}],
    ids=str,
)  # fmt: skip
def test_a_header_that_no_tool_writes_is_refused(
    tmp_path: Path, changes: dict[str, int], place: Callable[[Path, bytes], None]
) -> None:
    with pytest.raises(REFUSED):
        place(tmp_path, streamed(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("place", WITH_TABLES, ids=lambda p: p.__name__)
@pytest.mark.parametrize(
    "footer", [{"capacity": 4096}, {"grain": 64}, {"at": 3}, {"size": 1}, {"flags": 1}], ids=str
)
def test_an_end_that_says_something_else_than_the_beginning_is_refused(
    tmp_path: Path, footer: dict[str, int], place: Callable[[Path, bytes], None]
) -> None:
    with pytest.raises(REFUSED):
        place(tmp_path, streamed(footer=footer))


@pytest.mark.parametrize("place", WITH_TABLES, ids=lambda p: p.__name__)
def test_a_directory_that_names_one_table_again_and_again_is_refused(
    tmp_path: Path, place: Callable[[Path, bytes], None]
) -> None:
    tables = 20_000
    capacity = tables * 128 * 512
    text = DESCRIPTOR.replace(f"RW {CAPACITY} ", f"RW {capacity} ")
    with pytest.raises(REFUSED):
        place(tmp_path, streamed(text, capacity=capacity, directory=[-1] * tables))


@pytest.mark.parametrize(
    ("word", "adapter"),
    [
        ("ide", AdapterType.IDE), ("lsilogic", AdapterType.LSI_LOGIC),
        ("buslogic", AdapterType.BUS_LOGIC), ("pvscsi", AdapterType.PARA_VIRTUAL),
        ("LsiLogic", AdapterType.LSI_LOGIC), ("lsisas1068", AdapterType.LSI_LOGIC_SAS),
    ],
)  # fmt: skip
def test_the_adapter_that_a_vmdk_names_is_a_default(
    tmp_path: Path, word: str, adapter: AdapterType
) -> None:
    (tmp_path / "disk.vmdk").write_bytes(streamed(changed('"lsilogic"', f'"{word}"')))
    package = inspect(tmp_path / "disk.vmdk").package
    assert package is not None
    assert ImageProperties().with_defaults(package.defaults).adapter_type is adapter
    given = ImageProperties.from_mapping({"vmware_adaptertype": "nvme"})
    assert given.with_defaults(package.defaults).adapter_type is AdapterType.NVME


def test_an_adapter_that_is_not_known_is_told(tmp_path: Path) -> None:
    (tmp_path / "disk.vmdk").write_bytes(streamed(changed('"lsilogic"', '"legacyESX"')))
    package = inspect(tmp_path / "disk.vmdk").package
    assert package is not None
    assert "'legacyESX'" in " ".join(package.notes)
    assert len(streamed()) % SECTOR == 0
