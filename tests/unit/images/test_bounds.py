"""Readers of images take time and memory in proportion to the bytes that they read."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image_files import OvfDisk, an_appliance_ovf, an_archive, an_ovf, look, verify
from tests.vmdk_files import CAPACITY, DESCRIPTOR, streamed
from vmops.errors import ImageNotAcceptable
from vmops.images import manifest, ovf, tar
from vmops.images.inspection import inspect
from vmops.images.ovf_hardware import read_facts
from vmops.images.vmdk_descriptor import BadDescriptor, read_descriptor

BYTES_PER_BYTE = 40
BYTES_BESIDES = 24 * 1024 * 1024
SECONDS = 10.0
"""All of them take well below one; the machine may be busy with other things."""
SIZE = ovf.MAX_BYTES - 4096
ONE = (OvfDisk("one.vmdk", unit=0),)


def filled(before: str, unit: str, after: str, size: int = SIZE) -> bytes:
    """``unit`` again and again, with its number in the place of "#", up to the size."""
    count = max(1, (size - len(before) - len(after)) // (len(unit) + 6 * unit.count("#")))
    return (before + "".join(unit.replace("#", str(n)) for n in range(count)) + after).encode()


def appliance(unit: str) -> bytes:
    whole = an_appliance_ovf(ONE, "@").decode()
    before, _, after = whole.partition("@")
    return filled(before, unit, after)


OVFS: dict[str, Callable[[], bytes]] = {
    "items": lambda: appliance("<Item><rasd:InstanceID>#</rasd:InstanceID></Item>"),
    "empty items": lambda: appliance("<Item/>"),
    "cards": lambda: appliance("<Item><rasd:ResourceType>10</rasd:ResourceType></Item>"),
    "settings": lambda: appliance('<vmw:ExtraConfig vmw:key="k#" vmw:value=""/>'),
    "attributes": lambda: filled("<Envelope ", 'a#="" ', "/>"),
    "depth": lambda: filled("<Envelope>", "<a>", ""),
    "elements": lambda: filled("<Envelope>", "<a#/>", "</Envelope>"),
    "namespaces": lambda: filled("<Envelope ", 'xmlns:a#="#" ', "/>"),
    "text": lambda: appliance(
        f"<Item><rasd:ResourceType>{'1' * 50_000}</rasd:ResourceType></Item>"
    ),
    "an unclosed comment": lambda: filled("<Envelope><!--", "-#", ""),
    "entities": lambda: filled("<!DOCTYPE x [", '<!ENTITY a# "&a#;&a#;">', "]><x/>"),
    "files": lambda: appliance("</VirtualHardwareSection><VirtualHardwareSection><Item/>"),
}
MANIFESTS: dict[str, Callable[[], bytes]] = {
    "lines": lambda: filled("", "SHA1(f#)= " + "0" * 40 + "\n", "", manifest.MAX_BYTES),
    "one line": lambda: b"SHA1(" + b")" * (manifest.MAX_BYTES - 5),
    "blanks": lambda: b"SHA1(x)" + b" " * (manifest.MAX_BYTES - 7),
    "brackets and blanks": lambda: b"SHA1(" + b") " * (manifest.MAX_BYTES // 2 - 5),
    "almost digests": lambda: b"SHA1(" + b")=0" * (manifest.MAX_BYTES // 3 - 5),
    "digits": lambda: b"0" * manifest.MAX_BYTES,
    "line ends": lambda: b"\n" * manifest.MAX_BYTES,
}
DESCRIPTORS: dict[str, Callable[[], bytes]] = {
    "keys": lambda: filled(DESCRIPTOR, 'ddb.k# = "1"\n', "", 1 << 20),
    "extents": lambda: filled(DESCRIPTOR, 'RW 1 SPARSE "#"\n', "", 1 << 20),
    "blanks": lambda: b"ddb.a" + b" " * (1 << 20),
    "words": lambda: b"RW" + b" " * (1 << 19) + b"1" * (1 << 19),
    "quotes": lambda: b'RW 1 SPARSE "' + b'"' * (1 << 20),
}


def bounded(size: int, read: Callable[[], object]) -> None:
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with contextlib.suppress(ImageNotAcceptable, BadDescriptor):
            read()
        took_s = time.monotonic() - begin
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= BYTES_PER_BYTE * size + BYTES_BESIDES, f"{peak} bytes for {size}"
    assert took_s < SECONDS


@pytest.mark.parametrize("what", OVFS)
def test_a_descriptor_of_ovf(what: str) -> None:
    content = OVFS[what]()
    assert len(content) <= ovf.MAX_BYTES
    bounded(len(content), lambda: read_facts(content))


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest(what: str) -> None:
    content = MANIFESTS[what]()
    bounded(len(content), lambda: manifest.read_manifest(content))


@pytest.mark.parametrize("what", DESCRIPTORS)
def test_a_descriptor_of_a_vmdk(what: str) -> None:
    content = DESCRIPTORS[what]()
    bounded(len(content), lambda: read_descriptor(content))


def extended(content: bytes, kind: bytes = b"x") -> bytes:
    header = tarfile.TarInfo("pax")
    header.type, header.size = kind, len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


PAX = {
    "records without end": b"2 " * 32_000,
    "records of nothing": b"3 =" * 20_000,
    "one long key": b"60000 " + b"k" * 59_000 + b"=\n",
    "numbers": b"9" * 60_000,
    "records": b"".join(b"12 path=%04d\n" % (n % 10_000) for n in range(4_600)),
    "sparse": b"30 GNU.sparse.realsize=1234567\n",
    "a size of many digits": b"5012 size=" + b"9" * 5001 + b"\n",
    "a size that is no number": "13 size=\u00b2\u00b2\n".encode(),
}


@pytest.mark.parametrize("kind", [b"x", b"g"])
@pytest.mark.parametrize("what", PAX)
def test_an_extended_header_of_tar(what: str, kind: bytes) -> None:
    content = extended(PAX[what], kind) * 40
    bounded(len(content), lambda: list(tar.members(io.BytesIO(content))))


def test_members_without_end() -> None:
    one = tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT)
    content = one * 30_000
    bounded(len(content), lambda: list(tar.members(io.BytesIO(content))))
    with pytest.raises(ImageNotAcceptable, match="too many"):
        list(tar.members(io.BytesIO(content)))


@pytest.mark.parametrize("size", [2**63, 2**80, 2**87])
def test_a_member_that_is_longer_than_any_file(size: int) -> None:
    header = tarfile.TarInfo("x")
    header.size = size
    content = header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    with pytest.raises(ImageNotAcceptable, match="impossible size"):
        list(tar.members(io.BytesIO(content)))


def test_tables_that_are_named_again_and_again(tmp_path: Path) -> None:
    tables = 20_000
    capacity = tables * 128 * 512
    text = DESCRIPTOR.replace(f"RW {CAPACITY} ", f"RW {capacity} ")
    vmdk = streamed(text, capacity=capacity, directory=[-1] * tables)
    for file in (
        tmp_path / "disk.vmdk",
        an_archive(tmp_path / "a.ova", {"a.ovf": an_ovf(), "first.vmdk": vmdk}),
    ):
        if file.suffix == ".vmdk":
            file.write_bytes(vmdk)
        bounded(len(vmdk), lambda file=file: inspect(file))  # type: ignore[misc]


def test_an_archive_is_read_in_little_memory(tmp_path: Path) -> None:
    content = an_archive(tmp_path / "a.ova", {"a.ovf": an_ovf(), "first.vmdk": bytes(64 << 20)})
    bounded(0, lambda: verify(content))
    bounded(0, lambda: look(content))
