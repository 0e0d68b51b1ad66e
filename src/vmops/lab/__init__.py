"""A vSphere API endpoint on this machine whose virtual machines are QEMU guests.

The package imports nothing else of vmops: it is what the rest is tested against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmops.lab.settings import LabSettings

if TYPE_CHECKING:
    from vmops.lab.server import Lab

__all__ = ["Lab", "LabSettings"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of any type
    """Import the server when it is first asked for, so that its parts can be imported alone."""
    if name == "Lab":
        from vmops.lab.server import Lab  # noqa: PLC0415

        return Lab
    raise AttributeError(name)
