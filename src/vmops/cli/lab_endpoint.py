"""The lab as a command's endpoint."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmops.cli.terminal import say
from vmops.errors import Conflict, NotSupported, Unavailable, VMOpsError

if TYPE_CHECKING:
    from vmops.lab.daemon import Endpoint
    from vmops.lab.settings import LabSettings

NAT_NETWORKS = ("dv-net", "VM Network")
"""The lab's port groups with a way out: the vCenter's, and the single ESXi's."""


@contextmanager
def lab_errors() -> Iterator[None]:
    """Translate what the lab raises, which knows nothing of vmops, to our errors.

    Raises:
        NotSupported: the extra "lab" is not installed.
        Conflict: the state folder cannot be used as it is.
        Unavailable: the lab did not come up; the message says why.
    """
    try:
        yield
    except VMOpsError:
        raise
    except ModuleNotFoundError as missing:
        raise NotSupported(
            f"The lab needs {missing.name}, which is not installed: pip install 'vmops[lab]'"
        ) from None
    except Exception as failure:
        from vmops.lab.daemon import LabDied  # noqa: PLC0415
        from vmops.lab.state import StateError  # noqa: PLC0415

        text = f"{str(failure)[:1].upper()}{str(failure)[1:]}"
        if isinstance(failure, LabDied):
            raise Unavailable(text) from failure
        if isinstance(failure, StateError):
            raise Conflict(f"{text}. VMOPS_STATE_DIR sets another folder.") from failure
        raise


def require_server() -> None:
    """Refuse before anything is made for a lab that could not start.

    Raises:
        NotSupported: the extra "lab" is not installed.
    """
    try:
        there = importlib.util.find_spec("aiohttp") is not None
    except ValueError:
        there = False
    if not there:
        raise NotSupported(
            "The lab needs aiohttp, which is not installed: pip install 'vmops[lab]'"
        )


def lab_settings(state_dir: Path, **more: Any) -> LabSettings:
    """The settings of the user's lab, which lies in the user's state folder.

    A lab that was made before stays what it is, vCenter or ESXi, unless ``more`` says.
    """
    with lab_errors():
        from vmops.lab.settings import LabSettings  # noqa: PLC0415

        settings = LabSettings(state_dir=state_dir / "lab", **more)
        if "esx" in more:
            return settings
        try:
            known = json.loads(settings.identity_file.read_text(encoding="utf-8"))
            return dataclasses.replace(settings, esx=bool(known.get("esx")))
        except (OSError, ValueError, AttributeError):
            return settings


def running_lab(state_dir: Path) -> Endpoint:
    """The user's lab, started if it does not run, which is said on stderr."""
    settings = lab_settings(state_dir)
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        running = daemon.status(settings)
        if running is None:
            require_server()
            say("No endpoint is set; starting the lab on this machine.", err=True)
            running = daemon.start(settings)
            say(f"The lab answers at {running.url}", err=True)
        return running


def peek(state_dir: Path) -> str:
    """Where the lab answers, without starting it."""
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        running = daemon.status(lab_settings(state_dir))
        return running.url if running else "(not running; it is started when it is needed)"
