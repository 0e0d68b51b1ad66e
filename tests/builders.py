"""What tests spawn and from what; each builder says only what matters to its caller."""

from __future__ import annotations

import random
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmops import DirectoryImageStore, Flavor, Instance
from vmops.lab.guest import boot_sector_disk, conversion
from vmops.model.image import DiskType

UUID_PREFIX = "7e57"
"""Instance UUIDs of tests begin so, and so do the names of their folders."""
CAPACITY = 1024 * 1024
"""The capacity of the images' disk in bytes."""
WAYS = ("flat", "sparse", "streamOptimized")
"""The three ways of an image to a datastore; images of these names are in `an_image_store`."""
MEMORY_MIB = 16
"""The least a PC's BIOS needs."""


def a_uuid() -> str:
    return UUID_PREFIX + str(uuid.uuid4())[len(UUID_PREFIX) :]


def an_instance(
    *, of: str | None = None, name: str | None = None, vcpus: int = 1, root_gib: int = 0
) -> Instance:
    identity = of or a_uuid()
    return Instance(
        uuid=identity,
        name=name or f"vmops-test-{identity[:13]}",
        flavor=Flavor(vcpus=vcpus, memory_mib=MEMORY_MIB, root_gib=root_gib),
    )


def a_disk() -> bytes:
    """The guest of one sector, with bytes in the rest of its disk by which a copy is known."""
    noise = random.Random(4711).randbytes(CAPACITY // 2)
    boot = boot_sector_disk()
    return boot[: CAPACITY // 4] + noise + boot[CAPACITY // 4 + len(noise) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A store with one image for each way, and the bytes of the disk that is in all of them."""

    store: DirectoryImageStore
    disk: bytes

    def named(self, way: str, **properties: str) -> str:
        """The name of an image like ``way`` with these properties, made if it is not there."""
        words = "-".join(f"{key}-{value}" for key, value in sorted(properties.items()))
        name = f"{way}-{words}" if words else f"{way}-plain"
        if name not in {image.name for image in self.store.list()}:
            self.add(name, self._file(way), flat=False, **properties)
        return name

    def add(self, name: str, source: Path, *, flat: bool = False, **properties: str) -> str:
        """An image of its own; returns its name."""
        claimed = properties.pop("vmware_disktype", None)
        if claimed is None and (flat or source.suffix == ".img"):
            claimed = DiskType.PREALLOCATED.value
        self.store.add(
            source, name, disk_type=DiskType(claimed) if claimed else None, properties=properties
        )
        return name

    def _file(self, way: str) -> Path:
        return self.store.directory / f"{way}{'.img' if way == 'flat' else '.vmdk'}"


def an_image_store(directory: Path, properties: Mapping[str, str] | None = None) -> Images:
    """Make the store's images in ``directory``; the sparse one needs qemu-img."""
    store = DirectoryImageStore(directory)
    sources = directory.with_name(f"{directory.name}-sources")
    sources.mkdir(parents=True)
    disk = a_disk()
    for way in WAYS:
        raw, image = sources / "disk.raw", sources / f"{way}.img"
        raw.write_bytes(disk)
        if way == "sparse" and shutil.which("qemu-img") is None:
            continue
        conversion.convert_raw(raw, image, "raw" if way == "flat" else way)  # type: ignore[arg-type]
        claimed = DiskType.PREALLOCATED if way == "flat" else None
        store.add(image, way, disk_type=claimed, properties=dict(properties or {}))
    shutil.rmtree(sources)
    return Images(store=store, disk=disk)


def qemu_img(*words: str | Path) -> bytes:
    """What qemu-img says; the second view of a disk's format."""
    return subprocess.run(
        ["qemu-img", *words], stdout=subprocess.PIPE, check=True, timeout=60
    ).stdout


def qemu_io(file: Path, kind: str, *commands: str) -> None:
    """Let qemu-io write to a disk image, or read it, as a guest would."""
    words = [word for command in commands for word in ("-c", command)]
    command = ["qemu-io", "-f", kind, *words, str(file)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)
