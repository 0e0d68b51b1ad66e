"""Two datastores on this machine, and QEMU's tools as the second view of what lies on them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from vmops.lab.hypervisor.port import DiskLayer
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

MIB = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "one"


@pytest.fixture
def volumes(root: Path, tmp_path: Path) -> Volumes:
    roots = {"one": root, "two": tmp_path / "two"}
    for folder in roots.values():
        folder.mkdir()
    return Volumes(roots)


@pytest.fixture
def store(volumes: Volumes) -> DiskStore:
    return DiskStore(volumes)


@pytest.fixture
def qemu_img() -> Callable[..., str]:
    """Run qemu-img; its complaint fails the test."""
    return tool("qemu-img")


@pytest.fixture
def qemu_io() -> Callable[..., str]:
    return tool("qemu-io")


def tool(name: str) -> Callable[..., str]:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed (Debian: qemu-utils)")

    def run(*arguments: object) -> str:
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def held_by_qemu() -> Callable[..., AbstractContextManager[None]]:
    """Have a real QEMU block layer hold an image while the `with` lasts."""
    program = shutil.which("qemu-io")
    if program is None:
        pytest.skip("qemu-io is not installed (Debian: qemu-utils)")

    @contextmanager
    def hold(file: Path, image_format: str = "raw", *, read_only: bool = False) -> Iterator[None]:
        options = ["-r"] if read_only else []
        with subprocess.Popen(
            [program, *options, "-f", image_format, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("length\n")
            process.stdin.flush()
            assert "iB" in process.stdout.readline()  # it has the image open
            try:
                yield
            finally:
                process.communicate("quit\n", timeout=30)

    return hold


@contextmanager
def held(file: Path, byte: int) -> Iterator[None]:
    """Hold one of the locks with which QEMU marks an image, from a descriptor of our own."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        lock = struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
        yield
    finally:
        os.close(descriptor)


def write_at(file: Path, pieces: dict[int, bytes]) -> None:
    with file.open("r+b") as opened:
        for offset, data in pieces.items():
            opened.seek(offset)
            opened.write(data)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write to a file, and return nothing, as what takes a stream does."""
    file.write(data)


def names(root: Path) -> list[str]:
    """All there is below a datastore, hidden files too."""
    return sorted(str(file.relative_to(root)) for file in root.rglob("*"))


def one(path: str) -> DatastorePath:
    return DatastorePath("one", path)


def content(
    store: DiskStore, path: DatastorePath, scratch: Path, qemu_img: Callable[..., str]
) -> bytes:
    """What a guest would read, put together by qemu-img layer by layer."""
    *deltas, base = store.inspect(path).layers
    node: dict[str, object] = {"driver": "raw", "file": _file_node(base)}
    for layer in reversed(deltas):
        node = {"driver": "qcow2", "file": _file_node(layer), "backing": node}
    target = scratch / "content.raw"
    target.unlink(missing_ok=True)
    qemu_img("convert", "-U", "-O", "raw", f"json:{json.dumps(node)}", target)
    return target.read_bytes()


def _file_node(layer: DiskLayer) -> dict[str, str]:
    return {"driver": "file", "filename": str(layer.file)}
