"""The Linux guest boots from its disk in each format, once that has gone through an image store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import disk_images
from tests.disk_images import FORMATS, SPLIT
from tests.guests.plain_qemu import PlainQemu, linux_guest, require_qemu, unpack
from vmops.images.directory_store import DirectoryImageStore

pytestmark = pytest.mark.guest
PACKED = {"raw.xz": "xz", "raw.gz": "gz", "raw.zst": "zst"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    require_qemu()
    folder = tmp_path_factory.mktemp("formats")
    yield unpack(linux_guest(), folder / "disk.raw")
    shutil.rmtree(folder)


def given(raw: Path, name: str) -> Path:
    if name in PACKED:
        return disk_images.packed(raw, PACKED[name])
    return disk_images.split(raw, name) if name in SPLIT else disk_images.in_format(raw, name)


@pytest.mark.parametrize("name", [*FORMATS, *SPLIT, *PACKED])
def test_it_boots_from(raw: Path, name: str, tmp_path: Path) -> None:
    store = DirectoryImageStore(tmp_path / "images")
    store.add(given(raw, name), "a", disk_format="raw" if name in PACKED else None)
    disk = unpack(store.directory / "a.vmdk", tmp_path / "a.raw")
    with PlainQemu([disk], memory_mib=96) as guest:
        guest.wait_for(r"vmops-guest: boot 1\r\n")
        guest.wait_for(r"vmops-guest: ready\r*\n")
