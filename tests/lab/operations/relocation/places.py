"""Where machines can be in a lab, as its client and its directories show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.client import Client


def names(folder: Path) -> list[str] | None:
    """The files in a folder, None if it is not there."""
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else None


def datastore(client: Client, name: str) -> Any:
    return next(each for each in client.datacenter.datastore if each.name == name)


def hosts(client: Client) -> tuple[Any, Any]:
    first, second = client.compute.host
    return first, second
