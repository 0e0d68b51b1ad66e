"""What a figure is told about the run it is part of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run; all it writes lies in ``scratch``, which goes at its end."""

    scratch: Path
    repeat: int = 5
    """How often each thing is measured, warming up not counted."""
    upload_mib: int = 1024
    test_seconds: Path | None = None
    """A file with the seconds that runs of `make test` took, one a line."""
    run_tests: bool = False

    def folder(self, name: str) -> Path:
        """A new folder."""
        made = self.scratch / name
        made.mkdir()
        return made
