"""A lab for a figure, and the clients that work on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workers import Answer, Worker
from vmops.lab.guest import boot_sector_disk
from vmops.lab.guest.conversion import DiskFormat, convert_raw

ENGINE, NOVA, PYVMOMI = "engine", "nova_driver", "pyvmomi_client"
PLACE = {"cluster": "cluster1", "datastore": "datastore1"}
NETWORK = "dv-net"
SIZE = {"vcpus": 1, "memory_mb": 64, "root_gb": 1}
DISK_MIB = 16
WAYS: dict[str, DiskFormat] = {
    "preallocated": "raw",
    "sparse": "sparse",
    "streamOptimized": "streamOptimized",
}
"""Glance's word for each disk type, and what such an image's file is."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running lab."""

    lab: Worker
    login: dict[str, str]

    @contextmanager
    def client(self, program: str, **options: Any) -> Iterator[Client]:
        """A client that is logged in."""
        with Worker(program) as worker:
            worker.ask("connect", **self.login, **PLACE, **options)
            yield Client(self.lab, worker, program)


@dataclass(frozen=True, slots=True)
class Client:
    """One of the programs, with what all of them are asked for."""

    lab: Worker
    worker: Worker
    program: str

    def image(self, disk_type: str, file: Path, **properties: str) -> dict[str, str]:
        """An image of a name of its own, so that no cache has it."""
        made = {
            "id": str(uuid.uuid4()),
            "path": str(file),
            "disk_type": disk_type,
            "guest_id": "otherGuest",
            **properties,
        }
        if self.program == ENGINE:
            self.worker.ask("add_image", image=made)
        return made

    def spawn(
        self, image: dict[str, str], *, do: str = "spawn", size: dict[str, int] = SIZE, **more: Any
    ) -> tuple[str, Answer]:
        """A new instance's UUID, and what spawning it took."""
        instance = str(uuid.uuid4())
        spec = {"uuid": instance, "name": f"benchmark-{instance[:8]}", "image": image}
        return instance, self.worker.ask(do, **spec, size=size, network=NETWORK, **more)


@contextmanager
def endpoint(state_dir: Path, **settings: Any) -> Iterator[Endpoint]:
    """Run a lab; without guests if nothing else is said."""
    with Worker("lab") as lab:
        options = {"hypervisor": "none", **settings}
        yield Endpoint(lab, lab.ask("start", state_dir=str(state_dir), **options).result)


def disk_images(folder: Path) -> dict[str, Path]:
    """One bootable disk of 16 MiB in each of the three formats."""
    files = {}
    for disk_type, file_format in WAYS.items():
        raw = folder / "disk.raw"
        raw.write_bytes(boot_sector_disk(size_mib=DISK_MIB))
        files[disk_type] = folder / f"{disk_type}.img"
        convert_raw(raw, files[disk_type], file_format)
    return files
