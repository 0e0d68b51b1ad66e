"""Converts images with qemu-img, which opens nothing but the two files that it is given.

It gets descriptors, not names: what was inspected is what it reads, whatever is at that path now.
The format and each layer below it are named, a backing file is ruled out, and it runs confined
(`vmops.images.confinement`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeAlias

from vmops import units
from vmops.errors import ImageNotAcceptable, NotSupported
from vmops.images.confinement import Confined, Limits, running

Tell: TypeAlias = Callable[[float], None]
"""Takes the percent done."""
DRIVERS = {"vhd": "vpc"}
"""qemu-img's words where they differ from Glance's."""
_WITH_BACKING = {"qcow2", "vmdk"}
STREAM_OPTIMIZED = ("-O", "vmdk", "-o", "subformat=streamOptimized,adapter_type=lsilogic")
_PERCENT = re.compile(rb"\(\s*([0-9.]+)/100%\)")
_MAX_COMPLAINT = 500
# Grains of a compressed image take a sector at least, and cost 16 bytes of tables.
_OUT_PER_IN = 16
_OUT_BESIDES = 256 * units.MIB
_SPARE_BYTES = 64 * units.MIB
_SLOWEST = 4 * units.MIB
_WALL_S = 300.0


def convert(
    source: Path,
    source_format: str,
    target: Path,
    tell: Tell = lambda percent: None,
    *,
    to: tuple[str, ...] = STREAM_OPTIMIZED,
    at_most: int | None = None,
) -> None:
    """Write ``source`` to ``target``, as a streamOptimized VMDK; ``tell`` takes the percent done.

    The caller has inspected ``source``, which nobody else can write to; its format is given to
    qemu-img, so that it does not look for itself. ``to`` are the options for another format, whose
    file may have ``at_most`` bytes.

    Raises:
        NotSupported: there is no qemu-img.
        ImageNotAcceptable: qemu-img cannot read it, or not within what is allowed; its words are in
            the message.
    """
    program = shutil.which("qemu-img")
    if program is None:
        raise NotSupported(
            f"{source.name} has format {source_format}, which qemu-img can convert; it is not"
            " installed here (Debian: apt-get install qemu-utils)."
        )
    with source.open("rb") as reader, target.open("xb") as writer, TemporaryFile() as complaints:
        given, made = reader.fileno(), writer.fileno()
        size = os.fstat(given).st_size
        most = at_most or _OUT_PER_IN * size + _OUT_BESIDES
        limits = Limits(file_bytes=_room(target, most), wall_s=_WALL_S + size / _SLOWEST)
        argv = [program, "convert", "-p", *to, _opened(source_format, given), _path(made)]
        try:
            with running(argv, files=(given, made), limits=limits, complaints=complaints) as tool:
                _follow(tool, tell)
                tool.process.wait()
            _check(tool, complaints, source.name)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _check(tool: Confined, complaints: IO[bytes], called: str) -> None:
    if tool.process.returncode == 0:
        return
    complaints.seek(0)
    said = complaints.read(_MAX_COMPLAINT).decode("utf-8", "replace").strip()
    if "error while writing" in said:
        said += f" (it may have {units.human_bytes(tool.limits.file_bytes)} at most)"
    why = tool.why_ended() or said or f"status {tool.process.returncode}"
    raise ImageNotAcceptable(f"{called} cannot be converted: {why}")


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _opened(source_format: str, descriptor: int) -> str:
    """The image as qemu-img is to open it, with every layer named."""
    driver = DRIVERS.get(source_format, source_format)
    layers: dict[str, object] = {
        "driver": driver,
        "read-only": True,
        "file": {"driver": "file", "filename": _path(descriptor), "read-only": True},
    }
    if driver in _WITH_BACKING:
        layers["backing"] = None
    return f"json:{json.dumps(layers)}"


def _room(target: Path, wanted: int) -> int:
    """How big the file may become: what is free there is looked at first."""
    free = shutil.disk_usage(target.parent).free - _SPARE_BYTES
    return max(min(wanted, free), units.MIB)


def _follow(tool: Confined, tell: Tell) -> None:
    assert tool.process.stdout is not None  # noqa: S101 - it is a pipe
    while block := tool.process.stdout.read1(4096):  # type: ignore[attr-defined]
        if found := _PERCENT.findall(block):
            tell(float(found[-1]))
