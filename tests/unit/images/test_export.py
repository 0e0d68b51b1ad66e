"""What is exported has the disk's bytes, in whatever way the store holds them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import disk_images
from tests.builders import qemu_img
from tests.image_files import an_ova
from vmops.errors import AlreadyExists, ImageNotAcceptable
from vmops.images.directory_store import DirectoryImageStore
from vmops.images.export import export
from vmops.images.inspection import inspect
from vmops.images.iso import build_iso
from vmops.model.image import EXPORT_FORMATS, DiskType, Image

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")
HELD = ("flat", "sparse", "streamed", "ova")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return disk_images.a_disk(tmp_path / "disk.raw")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryImageStore:
    return DirectoryImageStore(tmp_path / "images")


def held(store: DirectoryImageStore, raw: Path, kind: str) -> Image:
    if kind == "flat":
        return store.add(raw, "a", disk_type=DiskType.THIN)
    subformat = "monolithicSparse" if kind == "sparse" else "streamOptimized"
    vmdk = raw.with_name("disk.vmdk")
    qemu_img("convert", "-O", "vmdk", "-f", "raw", "-o", f"subformat={subformat}", raw, vmdk)
    if kind == "ova":
        vmdk = an_ova(raw.with_name("a.ova"), vmdk.read_bytes())
    return store.add(vmdk, "a", properties={"vmware_ostype": "debian11_64Guest"})


@pytest.mark.parametrize("disk_format", EXPORT_FORMATS)
@pytest.mark.parametrize("kind", HELD)
def test_each_kind_in_each_format(
    raw: Path, store: DirectoryImageStore, kind: str, disk_format: str, tmp_path: Path
) -> None:
    image, target, told = held(store, raw, kind), tmp_path / f"out.{disk_format}", []
    export(store, image, disk_format, target, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    assert not list(tmp_path.glob(".vmops-export-*"))
    if disk_format == "raw":
        assert target.read_bytes() == raw.read_bytes()
        assert target.stat().st_blocks * 512 < disk_images.SIZE // 2
        return
    if disk_format == "qcow2":
        qemu_img("check", "-q", "-f", "qcow2", target)
    facts = inspect(target)
    assert facts.capacity_bytes == disk_images.SIZE
    again = DirectoryImageStore(tmp_path / "again")
    added = again.add(target, "b")
    export(again, added, "raw", tmp_path / "again.raw")
    assert (tmp_path / "again.raw").read_bytes() == raw.read_bytes()
    if disk_format == "ova" and kind != "flat":
        assert added.properties.guest_id == "debian11_64Guest"


def test_a_file_that_is_there_stays(raw: Path, store: DirectoryImageStore, tmp_path: Path) -> None:
    image = held(store, raw, "flat")
    before = raw.read_bytes()
    with pytest.raises(AlreadyExists):
        export(store, image, "raw", raw)
    assert raw.read_bytes() == before


def test_a_damaged_one_is_not_written(
    raw: Path, store: DirectoryImageStore, tmp_path: Path
) -> None:
    image = held(store, raw, "flat")
    with (store.directory / "a.img").open("r+b") as stream:
        stream.write(b"?")
    with pytest.raises(ImageNotAcceptable, match="damaged"):
        export(store, image, "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".vmops-export-*"))


def test_an_iso_image_has_no_disk(store: DirectoryImageStore, tmp_path: Path) -> None:
    (tmp_path / "x.iso").write_bytes(build_iso("x", {"a": b"1"}))
    image = store.add(tmp_path / "x.iso", "x")
    with pytest.raises(ImageNotAcceptable, match="no disk"):
        export(store, image, "raw", tmp_path / "out")
