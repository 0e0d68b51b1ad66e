"""Turns a raw disk into the format asked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Literal

from vmops.child_environment import tool_environment
from vmops.lab.guest.errors import BuildFailed
from vmops.lab.storage.descriptor import (
    SECTOR,
    Descriptor,
    Extent,
    disk_database,
    fresh_cid,
    fresh_uuid,
)
from vmops.lab.storage.stream_optimized import GRAIN_BYTES, StreamWriter

DiskFormat = Literal["streamOptimized", "flat", "sparse", "raw"]
_CONVERSION_TIMEOUT_S = 300


def convert_raw(raw: Path, output: Path, disk_format: DiskFormat) -> int:
    """Write ``raw`` as ``disk_format``; return the bytes allocated for the files written.

    With "raw" and "flat" the raw file is moved, not copied. "flat" makes ``output`` a descriptor
    as on a datastore, with its data beside it as ``<name>-flat.vmdk``. Only "sparse" needs
    qemu-img.

    Raises:
        BuildFailed: qemu-img is missing or refused.
    """
    written = [output]
    if disk_format == "raw":
        shutil.move(raw, output)
    elif disk_format == "flat":
        written.append(_move_flat(raw, output))
    elif disk_format == "streamOptimized":
        _write_stream(raw, output)
    else:
        _run_qemu_img(raw, output)
    return sum(path.stat().st_blocks * 512 for path in written)


def _describe(capacity_bytes: int, create_type: str, kind: str, data: str) -> str:
    cid = fresh_cid()
    return Descriptor(
        create_type=create_type,
        extents=(Extent(sectors=capacity_bytes // SECTOR, kind=kind, file_name=data),),
        cid=cid,
        ddb=disk_database(capacity_bytes, "lsiLogic", fresh_uuid(), cid),
    ).render()


def _move_flat(raw: Path, output: Path) -> Path:
    data = output.with_name(f"{output.stem}-flat.vmdk")
    descriptor = _describe(raw.stat().st_size, "vmfs", "VMFS", data.name)
    shutil.move(raw, data)
    output.write_text(descriptor)
    return data


def _write_stream(raw: Path, output: Path) -> None:
    capacity = raw.stat().st_size
    with raw.open("rb") as source, output.open("wb") as target:

        def write(data: bytes) -> None:
            target.write(data)

        descriptor = _describe(capacity, "streamOptimized", "SPARSE", output.name)
        with StreamWriter(write, capacity, descriptor) as stream:
            offset = 0
            while data := source.read(GRAIN_BYTES):
                if data.count(0) != len(data):
                    stream.add(offset, data)
                offset += len(data)
            stream.finish()


def _run_qemu_img(raw: Path, output: Path) -> None:
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk"]
    command += ["-o", "subformat=monolithicSparse,adapter_type=lsilogic", str(raw), str(output)]
    try:
        done = subprocess.run(
            command,
            env=tool_environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_CONVERSION_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildFailed("qemu-img is not on this machine: install qemu-utils") from error
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"qemu-img did not end within {_CONVERSION_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise BuildFailed(f"qemu-img: {done.stderr.strip()[-300:]}")
