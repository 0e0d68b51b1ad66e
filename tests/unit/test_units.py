"""Units: conversions that lose nothing, and sizes for people."""

from pathlib import Path

import pytest

from vmops import units


@pytest.mark.parametrize(
    ("size_bytes", "kib"), [(0, 0), (1, 1), (1024, 1), (1025, 2), (64 * units.MIB, 65536)]
)
def test_kib_are_rounded_up_so_that_all_bytes_fit(size_bytes: int, kib: int) -> None:
    assert units.bytes_to_kib(size_bytes) == kib


def test_gib_and_back() -> None:
    assert units.bytes_to_gib(units.gib_to_bytes(3)) == 3
    assert units.bytes_to_gib(units.gib_to_bytes(3) + 1) == 4
    assert units.kib_to_bytes(2 * units.MIB) == units.gib_to_bytes(2)
    assert units.mib_to_kib(8192) == 8388608


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (64 * units.MIB, "64.0 MiB"),
     (5 * units.GIB, "5.0 GiB"), (3 * 1024 * units.GIB, "3.0 TiB")],
)  # fmt: skip
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert units.human_bytes(size_bytes) == text


def test_nothing_else_in_the_engine_divides_or_multiplies_by_1024() -> None:
    source = Path(units.__file__).parent
    offenders = [
        f"{file.relative_to(source)}:{number}"
        for folder in ("ops", "specs", "vsphere", "model")
        for file in (source / folder).rglob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "1024 *" in line or "/ 1024" in line or "* 1024" in line
    ]
    assert offenders == []
