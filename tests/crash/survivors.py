"""A lab's machines without guests that outlive it, as those with guests do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmops.lab.hypervisor.null import DiskFiles, NullHypervisor
from vmops.lab.hypervisor.port import GuestDefinition
from vmops.lab.hypervisor.tools import ToolsListener


class SurvivingMachines(NullHypervisor):
    """Keeps in a file which machines are on, so that a lab that was killed finds them again."""

    def __init__(self, files: DiskFiles, file: Path) -> None:
        super().__init__(files)
        self._running: dict[str, GuestDefinition] = _Kept(file)

    async def start(
        self, on_stopped: Callable[[str], None], tools: ToolsListener | None = None
    ) -> None:
        self._on_stopped = on_stopped


class _Kept(dict[str, GuestDefinition]):
    """A dictionary that is in its file after each change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        there = pickle.loads(file.read_bytes()) if file.exists() else {}  # noqa: S301 - our own
        super().__init__(there)

    def __setitem__(self, key: str, value: GuestDefinition) -> None:
        super().__setitem__(key, value)
        self._write()

    def pop(self, key: str, *default: Any) -> Any:
        found = super().pop(key, *default)
        self._write()
        return found

    def clear(self) -> None:
        super().clear()
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_bytes(pickle.dumps(dict(self)))
        new.replace(self._file)
