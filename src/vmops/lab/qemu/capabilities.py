"""What the QEMU installed here can do, asked of itself once."""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vmops.child_environment import tool_environment
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.qemu.missing import find_program

OLDEST_SUPPORTED = (7, 2)  # the first with the netdev "stream"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_PROBE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """``program`` is QEMU itself; ``sandbox`` whether it was built with seccomp."""

    program: Path
    version: tuple[int, int]
    sandbox: bool


async def capabilities() -> Capabilities:
    """Return what QEMU can do here; the first call takes 0.1 seconds.

    Raises:
        HypervisorMissing: QEMU is not installed.
        HypervisorError: it does not run, or is too old.
    """
    program = find_program("qemu-system-x86_64")
    changed = program.stat().st_mtime_ns  # an upgrade while the lab runs is asked anew
    return await asyncio.to_thread(_probe, program, changed)


@functools.lru_cache(maxsize=4)
def _probe(program: Path, _changed: int) -> Capabilities:
    try:
        version = _version(program, ("-sandbox", SANDBOX))
        sandbox = True
    except HypervisorError:
        version = _version(program, ())
        sandbox = False
    if version < OLDEST_SUPPORTED:
        oldest = ".".join(map(str, OLDEST_SUPPORTED))
        found = ".".join(map(str, version))
        raise HypervisorError(f"QEMU {found} is too old: the lab needs {oldest} or newer")
    return Capabilities(program=program, version=version, sandbox=sandbox)


def _version(program: Path, options: tuple[str, ...]) -> tuple[int, int]:
    argv = (str(program), "-no-user-config", "-nodefaults", "-machine", "none", "-display", "none")
    try:
        outcome = subprocess.run(
            (*argv, *options, "-qmp", "stdio"),
            env=tool_environment(),
            input=b'{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n',
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
        )
        version = json.loads(outcome.stdout.splitlines()[0])["QMP"]["version"]["qemu"]
        return int(version["major"]), int(version["minor"])
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        raise HypervisorError(f"QEMU does not run: {reason}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError) as error:
        raise HypervisorError(f"QEMU does not run: {error}") from error
