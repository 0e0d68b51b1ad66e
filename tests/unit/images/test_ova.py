"""OVA archives: the first disk, and nothing that an archive could do besides."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.image_files import Stream, a_manifest, an_archive, an_ova, an_ovf, look, verify
from vmops.errors import ImageNotAcceptable
from vmops.images import ova, tar

DISK = bytes(range(256)) * 40


def whole(disk: ova.OvaDisk) -> bytes:
    return b"".join(iter(lambda: disk.stream.read(65536), b""))


def test_the_first_disk_is_the_ovfs_not_the_archives(tmp_path: Path) -> None:
    archive = an_ova(tmp_path / "a.ova", DISK)
    for stream in (archive.open("rb"), Stream(archive.read_bytes())):
        with stream:
            disk = ova.open_disk(stream)
            assert (disk.name, disk.size_bytes) == ("first.vmdk", len(DISK))
            assert whole(disk) == DISK
    content = look(archive)
    with archive.open("rb") as whole_archive:
        part = ova.Slice(whole_archive, *content.places["first.vmdk"])
        part.seek(256)
        assert part.read(3) == DISK[256:259]
        assert part.read() == DISK[259:]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_is_read(tmp_path: Path, kind: int) -> None:
    long = "d" * 90 + "/" + "n" * 90 + ".vmdk"
    files = {"a.ovf": an_ovf(long), long: DISK}
    archive = an_archive(tmp_path / "a.ova", files, kind)
    with archive.open("rb") as stream:
        assert whole(ova.open_disk(stream)) == DISK


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("damage", [False, True])
def test_a_disk_is_checked_while_it_is_read(tmp_path: Path, algorithm: str, damage: bool) -> None:
    files = {"a.ovf": an_ovf(), "first.vmdk": DISK}
    told = a_manifest(files, algorithm)
    if damage:
        files["first.vmdk"] = DISK[:-1] + b"x"
    ordered = {"a.ovf": files["a.ovf"], "a.mf": told, "first.vmdk": files["first.vmdk"]}
    archive = an_archive(tmp_path / "a.ova", ordered)
    with archive.open("rb") as stream:
        disk = ova.open_disk(stream)
        if damage:
            with pytest.raises(ImageNotAcceptable, match=r"'first.vmdk'.*damaged.*SHA"):
                whole(disk)
        else:
            assert whole(disk) == DISK


def test_a_manifest_at_the_end_counts_when_the_archive_is_verified(tmp_path: Path) -> None:
    files = {"a.ovf": an_ovf(), "first.vmdk": DISK}
    sound = an_archive(tmp_path / "a.ova", {**files, "a.mf": a_manifest(files)})
    verify(sound)
    damaged = an_archive(
        tmp_path / "b.ova", {**files, "first.vmdk": b"x" * 600, "a.mf": a_manifest(files)}
    )
    with pytest.raises(ImageNotAcceptable, match="damaged"):
        verify(damaged)
    gone = an_archive(tmp_path / "c.ova", {"a.ovf": files["a.ovf"], "a.mf": a_manifest(files)})
    with pytest.raises(ImageNotAcceptable, match=r"no 'first.vmdk', but a digest"):
        verify(gone)


def test_a_manifest_of_another_ovf_is_refused(tmp_path: Path) -> None:
    archive = an_archive(
        tmp_path / "a.ova",
        {"a.ovf": an_ovf(), "a.mf": a_manifest({"a.ovf": b"another"}), "first.vmdk": DISK},
    )
    with archive.open("rb") as stream, pytest.raises(ImageNotAcceptable, match=r"'a.ovf'"):
        ova.open_disk(stream)


@pytest.mark.parametrize(
    ("ovf", "said"),
    [
        (an_ovf().replace(b"fileRef", b"other"), "no VMDK"),
        (an_ovf(more='ovf:compression="gzip"'), "compressed"),
        (an_ovf(more='ovf:chunkSize="1000"'), "in parts"),
        (b"<Envelope", "not XML"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "entities"),
        (an_ovf("../../etc/passwd"), "no '../../etc/passwd'"),
        (an_ovf("/etc/passwd"), "no '/etc/passwd'"),
    ],
)
def test_an_ovf_that_leads_to_no_disk_is_refused(tmp_path: Path, ovf: bytes, said: str) -> None:
    archive = an_archive(tmp_path / "a.ova", {"a.ovf": ovf, "first.vmdk": DISK})
    with archive.open("rb") as stream, pytest.raises(ImageNotAcceptable, match=said):
        ova.open_disk(stream)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"first.vmdk": DISK, "a.ovf": an_ovf()}, "must come before"),
        ({"readme": b"hello"}, "no .ovf"),
        ({"a.ovf": b"x" * (2 * 1024 * 1024 + 1)}, "too big"),
    ],
)
def test_an_archive_in_another_order_is_refused(
    tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    archive = an_archive(tmp_path / "a.ova", files)
    with archive.open("rb") as stream, pytest.raises(ImageNotAcceptable, match=said):
        ova.open_disk(stream)


def test_names_with_escapes_are_those_of_the_archive(tmp_path: Path) -> None:
    files = {"a.ovf": an_ovf("my%20disk.vmdk"), "./my disk.vmdk": DISK}
    with an_archive(tmp_path / "a.ova", files).open("rb") as stream:
        assert whole(ova.open_disk(stream)) == DISK


@pytest.mark.parametrize("cut", [100, 600, 3000, 5000])
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    content = an_ova(tmp_path / "a.ova", DISK).read_bytes()
    with pytest.raises(ImageNotAcceptable, match="cut off"):
        whole(ova.open_disk(Stream(content[:cut])))


def test_links_and_folders_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "a.tar"
    with tarfile.open(target, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo("first.vmdk")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    with target.open("rb") as stream:
        assert list(tar.members(stream)) == []


def test_a_header_that_is_too_long_is_not_held_in_memory(tmp_path: Path) -> None:
    target = tmp_path / "a.tar"
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("x" * 100_000))
    with target.open("rb") as stream, pytest.raises(ImageNotAcceptable, match="too long"):
        list(tar.members(stream))


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(ImageNotAcceptable, match="Not a tar archive"):
        list(tar.members(io.BytesIO(b"\1" * 1024)))
