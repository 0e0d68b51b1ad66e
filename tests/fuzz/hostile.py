"""Images that are wrong in one thing: each number of each header with each value that is odd."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import struct
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.builders import qemu_img
from tests.image_files import OvfDisk, a_manifest, an_appliance_ovf, an_ovf
from tests.vmdk_files import DESCRIPTOR, streamed
from vmops.images.iso import build_iso

MIB = 1 << 20
_ODD = {
    1: (0, 1, 0x7F, 0x80, 0xFF),
    2: (0, 1, 0x7FFF, 0xFFFF),
    4: (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFE, 0x10000),
    8: (0, 1, 1 << 63, (1 << 64) - 1, (1 << 63) - 1, 1 << 40, 1 << 32, 0x10000),
}
# format -> where its headers' numbers are (begin, end, width), and which end comes first
_FIELDS: dict[str, tuple[tuple[tuple[int, int, int], ...], str]] = {
    "qcow2": (((4, 24, 4), (24, 32, 8), (32, 40, 4), (40, 56, 8), (56, 60, 4), (60, 72, 4),
               (72, 96, 8), (96, 104, 4), (0x30000, 0x30040, 8), (0x40000, 0x40020, 8)), ">"),
    "qcow2-compressed": (((24, 32, 8), (36, 40, 4), (40, 48, 8), (0x30000, 0x30020, 8),
                          (0x40000, 0x40040, 8)), ">"),
    "vdi": (((64, 88, 4), (336, 368, 4), (368, 376, 8), (376, 392, 4), (512, 544, 4)), "<"),
    "vhd": (((8, 16, 4), (16, 24, 8), (40, 56, 8), (60, 68, 4), (512, 536, 8), (536, 552, 4),
             (1536, 1568, 4)), ">"),
    "vhd-fixed": (((-512 + 8, -512 + 16, 4), (-512 + 40, -512 + 56, 8), (-512 + 60, -512 + 68, 4)),
                  ">"),
    "vhdx": (((0x10000, 0x10010, 4), (0x10010, 0x10050, 8), (0x30000, 0x30010, 4),
              (0x30020, 0x30050, 8), (0x30050, 0x30058, 4), (0x200008, 0x200010, 2),
              (0x200030, 0x200080, 4), (0x210000, 0x210020, 4), (0x300000, 0x300020, 8)), "<"),
    "vmdk": (((4, 12, 4), (12, 44, 8), (44, 48, 4), (48, 72, 8), (512, 560, 1), (65536, 65548, 4),
              (-1024 + 4, -1024 + 12, 4), (-1024 + 12, -1024 + 72, 8)), "<"),
    "iso": (((32768, 32776, 1), (32848, 32856, 4), (32888, 32900, 2), (32924, 32960, 4)), "<"),
    "tar": (((0, 8, 1), (100, 108, 1), (124, 136, 1), (148, 160, 1), (257, 265, 1)), "<"),
    "gzip": (((3, 10, 1), (-8, 0, 4)), "<"),
    "xz": (((6, 24, 1), (-12, 0, 4)), "<"),
}  # fmt: skip


@cache
def seeds() -> dict[str, bytes]:
    """A sound image of each kind, none of more than some megabytes."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        raw = folder / "raw"
        raw.write_bytes(random.Random(1).randbytes(MIB // 4) + bytes(MIB * 3 // 4))
        made = {}
        for kind, options in {
            "qcow2": ("-O", "qcow2"),
            "qcow2-compressed": ("-c", "-O", "qcow2"),
            "vdi": ("-O", "vdi"),
            "vhd": ("-O", "vpc", "-o", "force_size=on"),
            "vhd-fixed": ("-O", "vpc", "-o", "subformat=fixed,force_size=on"),
            "vhdx": ("-O", "vhdx", "-o", "block_size=1M"),
        }.items():
            qemu_img("convert", "-f", "raw", *options, raw, folder / kind)
            made[kind] = (folder / kind).read_bytes()
    vmdk = streamed()
    files = {"a.ovf": an_ovf(), "second.vmdk": b"x", "first.vmdk": vmdk}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for called, content in (
            {"a.ovf": files["a.ovf"], "a.mf": a_manifest(files)} | files
        ).items():
            member = tarfile.TarInfo(called)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made | {
        "vmdk": vmdk,
        "iso": build_iso("x", {"a": b"1"}),
        "tar": archive.getvalue(),
        "gzip": gzip.compress(vmdk),
        "xz": lzma.compress(vmdk),
        "descriptor": DESCRIPTOR.encode(),
        "parts": b'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 1 FLAT "a" 0\n',
        "manifest": a_manifest(files),
        "ovf": an_appliance_ovf((OvfDisk("one.vmdk", unit=0),)),
    }


def hostile(kind: str) -> Iterator[tuple[str, bytes]]:
    """A name and an image for each odd value of each number, and for each place to cut it off."""
    seed = seeds()[kind]
    for length in {0, 1, 511, 512, 513, 4096, len(seed) // 2, len(seed) - 513, len(seed) - 1}:
        yield f"{kind} cut at {length}", seed[: max(length, 0)]
    ranges, order = _FIELDS.get(kind, ((), "<"))
    for begin, end, width in ranges:
        letter = {1: "B", 2: "H", 4: "I", 8: "Q"}[width]
        for at in range(begin % len(seed), (end - begin) + begin % len(seed), width):
            for value in _ODD[width]:
                made = bytearray(seed)
                made[at : at + width] = struct.pack(order + letter, value)
                if kind == "tar":
                    _sum_tar(made)
                elif kind.startswith("vhd") and kind != "vhdx":
                    _sum_vhd(made, kind)
                yield f"{kind} {value:#x} at {at:#x}", bytes(made)


def _sum_tar(made: bytearray) -> None:
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made[:512])


def _sum_vhd(made: bytearray, kind: str) -> None:
    """Right sums, so that what is behind them is looked at."""
    for begin, length, at in ((0, 512, 64), (512, 1024, 36), (len(made) - 512, 512, 64)):
        if kind == "vhd-fixed" and begin != len(made) - 512:
            continue
        made[begin + at : begin + at + 4] = bytes(4)
        total = ~sum(made[begin : begin + length]) & 0xFFFF_FFFF
        made[begin + at : begin + at + 4] = struct.pack(">I", total)


def mutated(rng: random.Random, seed: bytes) -> bytes:
    """Some bytes changed, moved, cut or doubled, at its beginning more often than elsewhere."""
    made = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        limit = rng.choice((64, 512, 4096, len(made)))
        at = rng.randrange(max(1, min(limit, len(made))))
        match rng.randrange(6):
            case 0:
                made[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                width = rng.choice((2, 4, 8))
                value = rng.choice(_ODD[width])
                made[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
            case 2:
                del made[at : at + rng.choice((1, 4, 512))]
            case 3:
                length = rng.choice((1, 8, 512))
                made[at:at] = made[at : at + length] * rng.choice((1, 2, 50))
            case 4:
                other = rng.randrange(max(1, len(made)))
                made[at : at + 16] = made[other : other + 16]
            case _:
                made[at : at + 1] = rng.choice((b"\xb2", b"\xff\xfe", b"\0", b"%s", b"-1", b"\n"))
    return bytes(made)
