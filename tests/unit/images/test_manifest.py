"""Manifests of OVAs: every spelling is checked, and what is not understood is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image_files import an_archive, an_ovf, look, verify
from vmops.errors import ImageNotAcceptable
from vmops.images import manifest, ova

GOOD, BAD = b"good" * 700, b"evil" * 700
OVF = an_ovf("d1.vmdk")
ALGORITHMS = ("sha1", "sha224", "sha256", "sha384", "sha512")


def hexdigest(algorithm: str, content: bytes = GOOD) -> str:
    return hashlib.new(algorithm, content).hexdigest()


SPELLINGS: dict[str, Callable[[str, str], str]] = {
    "as the specification has it": lambda a, d: f"{a.upper()}(d1.vmdk)= {d}\n",
    "lower case": lambda a, d: f"{a}(d1.vmdk)= {d}\n",
    "with a dash": lambda a, d: f"SHA-{a[3:]}(d1.vmdk)= {d}\n",
    "digits in capitals": lambda a, d: f"{a.upper()}(d1.vmdk)= {d.upper()}\n",
    "no blank": lambda a, d: f"{a.upper()}(d1.vmdk)={d}\n",
    "blanks and tabs": lambda a, d: f" \t{a.upper()} (d1.vmdk) \t=\t {d} \n",
    "as openssl has it": lambda a, d: f"{a.upper()}({'./d1.vmdk'})= {d}\n",
    "as sha256sum has it": lambda _a, d: f"{d}  d1.vmdk\n",
    "as sha256sum has binaries": lambda _a, d: f"{d} *d1.vmdk\n",
    "line ends of DOS": lambda a, d: f"{a.upper()}(d1.vmdk)= {d}\r\n",
    "no last line feed": lambda a, d: f"{a.upper()}(d1.vmdk)= {d}",
    "blank lines": lambda a, d: f"\n\n{a.upper()}(d1.vmdk)= {d}\n\n",
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_checked(
    tmp_path: Path, spelling: str, algorithm: str, encoding: str
) -> None:
    told = SPELLINGS[spelling](algorithm, hexdigest(algorithm)).encode(encoding)
    for at_end in (False, True):
        for disk in (GOOD, BAD):
            files = {"x.ovf": OVF, "d1.vmdk": disk}
            files = {**files, "x.mf": told} if at_end else {"x.ovf": OVF, "x.mf": told, **files}
            archive = an_archive(tmp_path / "x.ova", files)
            if disk is GOOD:
                verify(archive)
                with archive.open("rb") as stream:
                    assert ova.open_disk(stream).stream.read() == GOOD
                continue
            with pytest.raises(ImageNotAcceptable, match=r"'d1.vmdk' in the archive is damaged"):
                verify(archive)
            with archive.open("rb") as stream, pytest.raises(ImageNotAcceptable, match="damaged"):
                ova.open_disk(stream).stream.read()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("this is no manifest", "not understood: 'this is no manifest'"),
        (f"SHA3-256(d1.vmdk)= {hexdigest('sha256')}", "not understood"),
        (f"SHA256(d1.vmdk)= {hexdigest('sha256')[:-1]}", "not understood"),
        (f"SHA256(d1.vmdk)= {hexdigest('sha1')}", "not understood"),
        (f"SHA256(d1.vmdk) {hexdigest('sha256')}", "not understood"),
        (f"SHA256 d1.vmdk = {hexdigest('sha256')}", "not understood"),
        (f"SHA256()= {hexdigest('sha256')}", "not understood"),
        ("# a comment", "not understood"),
        (f"{hexdigest('sha256')[:-2]}  d1.vmdk", "not understood"),
        (f"SHA²56(d1.vmdk)= {hexdigest('sha256')}", "not understood"),
        ("<manifest/>", "not understood"),
    ],
)
def test_a_line_that_is_not_understood_is_refused(line: str, said: str) -> None:
    good = f"SHA256(d1.vmdk)= {hexdigest('sha256')}"
    for text in (line, f"{good}\n{line}", f"{line}\n{good}"):
        with pytest.raises(ImageNotAcceptable, match=said):
            manifest.read_manifest(text.encode())


@pytest.mark.parametrize("content", [b"\xff\xfeS\0H\0A", b"\x80\x81", b"\xef\xbb\xbf\xff"])
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    with pytest.raises(
        ImageNotAcceptable, match=r"manifest is not (readable|understood)|not under"
    ):
        manifest.read_manifest(content)


def test_a_file_that_is_told_of_twice_is_refused() -> None:
    line = f"SHA256(d1.vmdk)= {hexdigest('sha256')}\n"
    for other in (line, f"sha-256(./d1.vmdk)= {hexdigest('sha256', BAD)}\n"):
        with pytest.raises(ImageNotAcceptable, match="second SHA256 of"):
            manifest.read_manifest((line + other).encode())
    both = line + f"SHA1(d1.vmdk)= {hexdigest('sha1', BAD)}\n"
    checking = manifest.read_manifest(both.encode()).of("d1.vmdk").begin()
    checking.update(GOOD)
    with pytest.raises(ImageNotAcceptable, match="SHA1"):
        checking.finish()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (f"SHA256(x.ovf)= {hexdigest('sha256', OVF)}\n", "no line for 'd1.vmdk'"),
        ("", "no line for 'd1.vmdk'"),
        (f"MD5(d1.vmdk)= {hexdigest('md5')}\n", "only an MD5 of 'd1.vmdk'"),
        (f"{hexdigest('md5')}  d1.vmdk\n", "only an MD5 of 'd1.vmdk'"),
    ],
)
def test_a_disk_that_nothing_vouches_for_is_refused(tmp_path: Path, told: str, said: str) -> None:
    files = {"x.ovf": OVF, "x.mf": told.encode(), "d1.vmdk": GOOD}
    archive = an_archive(tmp_path / "x.ova", files)
    with pytest.raises(ImageNotAcceptable, match=said):
        look(archive)
    with archive.open("rb") as stream, pytest.raises(ImageNotAcceptable, match=said):
        ova.open_disk(stream)


def test_what_is_there_twice_is_refused(tmp_path: Path) -> None:
    told = f"SHA256(d1.vmdk)= {hexdigest('sha256')}\n".encode()
    for more, said in (
        ({"./d1.vmdk": BAD}, "'d1.vmdk' twice"),
        ({"y.mf": told}, "two manifests"),
        ({"y.ovf": OVF}, "two .ovf"),
    ):
        archive = an_archive(
            tmp_path / "x.ova", {"x.ovf": OVF, "x.mf": told, "d1.vmdk": GOOD, **more}
        )
        with pytest.raises(ImageNotAcceptable, match=said):
            look(archive)
        with pytest.raises(ImageNotAcceptable, match=said):
            verify(archive)


def test_what_is_not_checked_is_told(tmp_path: Path) -> None:
    told = f"SHA256(d1.vmdk)= {hexdigest('sha256')}\n".encode()
    without = an_archive(tmp_path / "a.ova", {"x.ovf": OVF, "d1.vmdk": GOOD})
    assert "no manifest" in " ".join(look(without).notes())
    signed = {"x.ovf": OVF, "x.mf": told, "x.cert": b"signed", "d1.vmdk": GOOD}
    notes = " ".join(look(an_archive(tmp_path / "b.ova", signed)).notes())
    assert "certificate is not checked" in notes
    assert "no line for its .ovf" in notes
