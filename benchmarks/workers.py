"""Processes that do what is measured, each alone in its own interpreter."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT / ".build/benchmarks"


class WorkerFailed(Exception):
    """A worker answered with an error, or ended; the message holds its traceback."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to, and what it took in the worker's process."""

    seconds: float
    cpu_seconds: float
    result: Any


class Worker:
    """A process of one of the modules in `benchmarks.programs`; its stderr goes to a log.

    It runs under another interpreter if one is given.
    """

    def __init__(self, program: str, python: str | None = None) -> None:
        self.program = program
        BUILD.mkdir(parents=True, exist_ok=True)
        with (BUILD / f"{program}.log").open("w") as log:
            self._process = subprocess.Popen(
                [python or sys.executable, "-m", f"benchmarks.programs.{program}"],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, /, **arguments: Any) -> Answer:
        """Let the worker do something; WorkerFailed if it could not."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(f"{self.program} has ended") from None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"{self.program} ended during {do}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"{self.program}: {do} failed\n{answer['error']}")
        return Answer(**answer)

    def close(self) -> None:
        """End the process by the end of its input, by force if it does not listen."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
