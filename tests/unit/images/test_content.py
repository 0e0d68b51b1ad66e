"""Images as a store holds them become what vSphere takes; unsafe ones reach no other program."""

from __future__ import annotations

import io
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import qemu_img
from tests.image_files import Remote, an_archive, an_ova, an_ovf
from vmops.context import operation
from vmops.errors import ImageNotAcceptable, NotSupported
from vmops.images import content
from vmops.images import qemu_img as converter
from vmops.images.inspection import inspect
from vmops.lab.guest import boot_sector_disk, build_boot_sector_guest
from vmops.model.image import DiskType, ImagePackage
from vmops.progress import Event, TransferProgress

MIB = 1 << 20
needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    file = tmp_path / "disk.raw"
    file.write_bytes(boot_sector_disk())
    return file


def converted(raw: Path, kind: str, *options: str) -> Path:
    target = raw.with_name(f"disk.{kind}")
    qemu_img("convert", "-f", "raw", "-O", kind, *options, raw, target)
    return target


def as_raw(vmdk: bytes, folder: Path) -> bytes:
    """The second view of a VMDK's disk."""
    source, target = folder / "made.vmdk", folder / "made.raw"
    source.write_bytes(vmdk)
    qemu_img("convert", "-f", "vmdk", "-O", "raw", source, target)
    return target.read_bytes()


def test_an_archives_disk_is_known_before_it_is_sent(tmp_path: Path) -> None:
    vmdk = build_boot_sector_guest(tmp_path / "disk.vmdk").read_bytes()
    store = Remote(an_ova(tmp_path / "a.ova", vmdk).read_bytes())
    known = content.complete(store, store.image(container_format="ova"))
    assert known.capacity_bytes == MIB
    assert known.properties.disk_type is DiskType.STREAM_OPTIMIZED
    with content.as_vmdk(store, known) as (opens, image):
        assert (image.size_bytes, image.container_format) == (len(vmdk), "bare")
        with opens.open(image) as stream:
            assert io.BufferedReader(stream).read() == vmdk  # type: ignore[type-var]


@needs_qemu_img
@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_another_format_becomes_stream_optimized_and_leaves_nothing(
    raw: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    source = raw if kind == "raw" else converted(raw, "qcow2")
    store = Remote(source.read_bytes())
    events: list[Event] = []
    known = content.complete(store, store.image(kind))
    assert known.capacity_bytes == MIB
    with operation("spawn", observe=events.append), content.as_vmdk(store, known) as (opens, image):
        with opens.open(image) as stream:
            vmdk = stream.read()
        assert (image.disk_format, image.size_bytes) == ("vmdk", len(vmdk))
    assert as_raw(vmdk, tmp_path) == raw.read_bytes()
    assert [e.done_bytes for e in events if isinstance(e, TransferProgress)][-1] == MIB
    assert list(scratch.iterdir()) == []


def test_the_capacity_of_a_streamed_vmdk_is_in_its_header(tmp_path: Path) -> None:
    store = Remote(build_boot_sector_guest(tmp_path / "disk.vmdk").read_bytes())
    image = store.image()
    image = replace(
        image, properties=replace(image.properties, disk_type=DiskType.STREAM_OPTIMIZED)
    )
    assert content.complete(store, image).capacity_bytes == MIB


def test_what_is_known_is_not_looked_for() -> None:
    store = Remote(b"")
    for image in (
        store.image("raw"),
        store.image("iso"),
        replace(store.image("qcow2"), capacity_bytes=MIB),
        replace(store.image(container_format="ova"), package=ImagePackage(boot_file="a.vmdk")),
        store.image(),
    ):
        content.complete(store, image)
    assert store.opened == 0


@pytest.mark.parametrize(
    ("disk_format", "container_format", "said"),
    [
        ("qed", "bare", "'qed'; known are vmdk, iso, qcow2, raw, vhd"),
        ("vmdk", "docker", "'docker'"),
        ("qcow2", "bare", "said to be qcow2, but is not"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    disk_format: str, container_format: str, said: str
) -> None:
    store = Remote(b"\0" * 4096)
    with pytest.raises(ImageNotAcceptable, match=said):
        content.complete(store, store.image(disk_format, container_format))


@needs_qemu_img
@pytest.mark.parametrize("option", ["backing_file=/etc/passwd", "data_file=data.raw"])
def test_a_qcow2_that_names_other_files_is_not_opened_by_a_tool(
    raw: Path, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "trap.qcow2"
    more = ("-F", "raw", "-u") if option.startswith("backing") else ()
    qemu_img("create", "-f", "qcow2", "-o", option, *more, target, "1M")
    store = Remote(target.read_bytes())
    known = replace(store.image("qcow2"), capacity_bytes=MIB)
    touched = tmp_path / "touched"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "qemu-img"
    program.write_text(f"#!/bin/sh\n: > {touched}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    with pytest.raises(ImageNotAcceptable, match="refused"), content.as_vmdk(store, known):
        pass
    with pytest.raises(ImageNotAcceptable, match="refused"):
        content.complete(store, store.image("qcow2"))
    assert not touched.exists()


@needs_qemu_img
def test_a_vmdk_in_raw_clothes_is_not_taken_for_raw(raw: Path) -> None:
    """Whoever names another format than the file has might have it opened unseen."""
    store = Remote(converted(raw, "qcow2").read_bytes())
    with (
        pytest.raises(ImageNotAcceptable, match="said to have format raw, but is qcow2"),
        content.as_vmdk(store, store.image("raw")),
    ):
        pass


def test_without_the_program_it_is_said_how_to_get_it(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotSupported, match="qemu-utils"):
        converter.convert(raw, "raw", tmp_path / "out.vmdk")


@needs_qemu_img
def test_what_the_program_cannot_read_is_told_in_its_words(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.vmdk"
    with pytest.raises(ImageNotAcceptable, match="not in qcow2 format"):
        converter.convert(raw, "qcow2", out)
    assert not out.exists()


@needs_qemu_img
def test_a_name_with_a_colon_is_a_files(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = raw.rename(tmp_path / "nbd:x.raw")
    converter.convert(named.relative_to(tmp_path), "raw", Path("out:put.vmdk"))
    assert inspect(tmp_path / "out:put.vmdk").disk_type is DiskType.STREAM_OPTIMIZED


def test_a_flat_disk_in_an_archive_is_refused(tmp_path: Path) -> None:
    archive = an_archive(tmp_path / "a.ova", {"a.ovf": an_ovf(), "first.vmdk": b"\0" * MIB})
    with pytest.raises(ImageNotAcceptable, match=r"first.vmdk in a.ova is not a usable VMDK"):
        inspect(archive)


@needs_qemu_img
def test_a_sparse_disk_in_an_archive_is_refused(raw: Path, tmp_path: Path) -> None:
    vmdk = converted(raw, "vmdk").read_bytes()
    assert struct.unpack_from("<I", vmdk, 4)[0] == 1
    with pytest.raises(ImageNotAcceptable, match="not a streamOptimized VMDK"):
        inspect(an_ova(tmp_path / "a.ova", vmdk))
