"""Converts images of other formats with qemu-img, which opens nothing that was not looked into."""

from __future__ import annotations

import contextlib
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeAlias

from vmops import units
from vmops.child_environment import tool_environment
from vmops.errors import ImageNotAcceptable, NotSupported

MAX_MEMORY_BYTES = 2 * units.GIB
MAX_CPU_S = 3600
Tell: TypeAlias = Callable[[float], None]
"""Takes the percent done."""
_PERCENT = re.compile(rb"\(\s*([0-9.]+)/100%\)")
_MAX_COMPLAINT = 500


def convert(
    source: Path, source_format: str, target: Path, tell: Tell = lambda percent: None
) -> None:
    """Write ``source`` as a streamOptimized VMDK to ``target``; ``tell`` takes the percent done.

    The caller has inspected ``source``; its format is given to qemu-img, so that it does not look
    for itself. Memory and processor time are limited.

    Raises:
        NotSupported: there is no qemu-img.
        ImageNotAcceptable: qemu-img cannot read it; its words are in the message.
    """
    program = shutil.which("qemu-img")
    if program is None:
        raise NotSupported(
            f"{source.name} has format {source_format}, which qemu-img can convert; it is not"
            " installed here (Debian: apt-get install qemu-utils)."
        )
    # Absolute names: qemu-img takes a colon in another one for a protocol's.
    argv = [program, "convert", "-p", "-f", source_format, "-O", "vmdk"]
    argv += [
        "-o",
        "subformat=streamOptimized,adapter_type=lsilogic",
        str(source.resolve()),
        str(target.resolve()),
    ]
    with TemporaryFile() as complaints, _running(argv, complaints) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while block := process.stdout.read1(4096):  # type: ignore[attr-defined]
            if found := _PERCENT.findall(block):
                tell(float(found[-1]))
        if process.wait() != 0:
            target.unlink(missing_ok=True)
            complaints.seek(0)
            said = complaints.read(_MAX_COMPLAINT).decode("utf-8", "replace").strip()
            raise ImageNotAcceptable(
                f"{source.name} cannot be converted: {said or f'status {process.returncode}'}"
            )


@contextlib.contextmanager
def _running(argv: list[str], complaints: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which does not outlive the block."""
    process = subprocess.Popen(
        argv,
        env=tool_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
    )
    with process:
        try:
            for kind, limit in (
                (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
                (resource.RLIMIT_CPU, MAX_CPU_S),
            ):
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(process.pid, kind, (limit, limit))
            yield process
        except BaseException:
            process.kill()
            raise
