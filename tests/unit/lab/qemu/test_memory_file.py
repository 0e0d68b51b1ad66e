"""What the file of a suspended guest's memory says of the guest."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.qemu.machines import a_machine
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.qemu.argv.growth_state import Growth
from vmops.lab.qemu.memory_file import MemoryHeader, create, finish, open_stream

GROWN = Growth(
    cpus_at_start=1,
    max_cpus=8,
    memory_at_start_kib=131064,
    max_memory_mib=2048,
    cpus=2,
    modules=(128, 256),
)
HEADER = MemoryHeader(
    machine_type="pc-i440fx-7.2", qemu_version="7.2.22", growth=GROWN, has_seed=True
)


def written(file: Path, header: MemoryHeader) -> Path:
    descriptor = create(file)
    os.write(descriptor, b"memory")
    finish(descriptor, header)
    os.close(descriptor)
    return file


def read(file: Path) -> MemoryHeader:
    descriptor, header = open_stream(file)
    assert os.read(descriptor, 100) == b"memory"
    os.close(descriptor)
    return header


@pytest.mark.parametrize("header", [HEADER, replace(HEADER, growth=None, has_seed=False)])
def test_what_is_written_is_read(tmp_path: Path, header: MemoryHeader) -> None:
    assert read(written(tmp_path / "memory", header)) == header


def test_files_of_before_guests_could_grow_are_read(tmp_path: Path) -> None:
    file = written(tmp_path / "memory", HEADER)
    content = file.read_bytes()
    fields = json.loads(content[:4096].rstrip(b"\0"))
    del fields["growth"], fields["has_seed"]
    file.write_bytes(json.dumps(fields).encode().ljust(4096, b"\0") + content[4096:])

    header = read(file)

    assert (header.growth, header.has_seed) == (None, False)


def test_nonsense_in_it_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "memory", HEADER)
    content = file.read_bytes()
    fields = json.loads(content[:4096].rstrip(b"\0"))
    fields["growth"] = {"cpus": "many"}
    file.write_bytes(json.dumps(fields).encode().ljust(4096, b"\0") + content[4096:])

    with pytest.raises(HypervisorError, match="is not the memory of a QEMU guest"):
        open_stream(file)


def test_it_fits_the_machine_it_was_taken_of_alone() -> None:
    machine = a_machine(cpus=3, memory_mib=512)
    GROWN.check(machine)
    for other in (replace(machine, cpus=1), replace(machine, memory_mib=128)):
        with pytest.raises(HypervisorError, match="3 processors and 512 MiB"):
            GROWN.check(other)
