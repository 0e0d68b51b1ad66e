"""Hundreds of images that are wrong in one thing: each is taken or refused, at a bounded price."""

from __future__ import annotations

import random
import shutil
import tracemalloc
from pathlib import Path

import pytest

from tests.fuzz.hostile import hostile, mutated, seeds
from tests.fuzz.targets import TARGETS, take_or_refuse

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")
FINDINGS = Path(__file__).parents[2] / "fuzz/findings"
KINDS = (
    *("qcow2", "qcow2-compressed", "vdi", "vhd", "vhd-fixed", "vhdx", "vmdk", "iso", "tar"),
    *("gzip", "xz", "descriptor", "parts", "manifest", "ovf"),
)
READERS = {
    "tar": ("inspect", "add", "tar"),
    "gzip": ("add", "unpack"),
    "xz": ("add", "unpack"),
    "vmdk": ("inspect", "add", "vmdk"),
    "iso": ("inspect", "add"),
    "parts": ("add", "parts"),
    **{kind: (kind,) for kind in ("descriptor", "manifest", "ovf")},
}
OF_DISKS = ("inspect", "convert")
MUTATIONS = 150
BYTES_BESIDES = 24 << 20
BYTES_PER_BYTE = 12


def readers(kind: str) -> tuple[str, ...]:
    return READERS.get(kind, OF_DISKS)


def test_every_reader_is_walked() -> None:
    assert {each for kind in KINDS for each in readers(kind)} == TARGETS.keys()
    assert set(KINDS) == seeds().keys()
    assert sum(1 for kind in KINDS for _ in hostile(kind)) > 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_one_is_taken_by_each_reader(kind: str) -> None:
    for reader in readers(kind):
        if (kind, reader) != ("parts", "add"):  # its part is missing
            assert take_or_refuse(reader, seeds()[kind]), (kind, reader)


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_value_in_any_field_is_taken_or_refused(kind: str) -> None:
    count = refused = 0
    for name, content in hostile(kind):
        for reader in readers(kind):
            try:
                refused += not take_or_refuse(reader, content)
            except BaseException as failure:
                failure.add_note(f"{reader}: {name}")
                raise
            count += 1
    assert 0 < refused <= count


@pytest.mark.parametrize("kind", KINDS)
def test_any_change_is_taken_or_refused(kind: str) -> None:
    rng = random.Random(kind)
    for number in range(MUTATIONS):
        content = mutated(rng, seeds()[kind])
        for reader in readers(kind):
            try:
                take_or_refuse(reader, content)
            except BaseException as failure:
                failure.add_note(f"{reader}: change {number} of {kind}")
                raise


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded_by_what_is_read(kind: str) -> None:
    take_or_refuse(readers(kind)[0], seeds()[kind])  # what is imported is not counted
    rng = random.Random(7)
    images = [mutated(rng, seeds()[kind]) for _ in range(5)]
    for content in images:
        for reader in readers(kind):
            tracemalloc.start()
            try:
                take_or_refuse(reader, content)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak <= BYTES_PER_BYTE * len(content) + BYTES_BESIDES, (reader, peak)


@pytest.mark.parametrize("file", sorted(FINDINGS.glob("*/*")), ids=lambda each: each.name)
def test_what_was_found_once_is_refused(file: Path) -> None:
    take_or_refuse(file.parent.name, file.read_bytes())
