"""The lab as a command's endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmops.errors import NotSupported, Unavailable, VMOpsError

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
        Unavailable: the lab cannot be started or stopped; the message says why.
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
        from vmops.lab.state import StateError  # noqa: PLC0415 - needs the extra

        if isinstance(failure, StateError):
            raise Unavailable(f"The lab: {failure}") from failure
        raise


def lab_settings(state_dir: Path, **more: Any) -> LabSettings:
    """The settings of the user's lab, which lies in the user's state folder."""
    with lab_errors():
        from vmops.lab.settings import LabSettings  # noqa: PLC0415

        return LabSettings(state_dir=state_dir / "lab", **more)


def running_lab(state_dir: Path) -> Endpoint:
    """The user's lab, started if it does not run, which is said on stderr."""
    settings = lab_settings(state_dir)
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        running = daemon.status(settings)
        if running is None:
            click.echo("No endpoint is set; starting the lab on this machine.", err=True)
            running = daemon.start(settings)
            click.echo(f"The lab answers at {running.url}", err=True)
        return running


def peek(state_dir: Path) -> str:
    """Where the lab answers, without starting it."""
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        running = daemon.status(lab_settings(state_dir))
        return running.url if running else "(not running; it is started when it is needed)"
