"""What came of operations and pairs, kept in .build/crash: a run may do some of them."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict
from pathlib import Path
from typing import Generic, TypeVar

from tests.crash.nursery import PROJECT
from tests.crash.pairs import Contest
from tests.crash.tally import Tally

FOLDER = PROJECT / ".build" / "crash"

T = TypeVar("T", Tally, Contest)


class Results(Generic[T]):
    """Those of one kind by name, the newest of each."""

    def __init__(self, kind: str, of: type[T]) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._file: Path = FOLDER / f"{kind}.json"
        there = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._found: dict[str, T] = {name: of(**values) for name, values in there.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def add(self, name: str, result: T) -> None:
        """Keep it, also should the run be broken off later."""
        result.day = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
        self._found[name] = result
        plain = {each: asdict(found) for each, found in self._found.items()}
        self._file.write_text(json.dumps(plain, indent=1))

    def of(self, names: list[str]) -> list[T]:
        """Those of these names that there are, in this order."""
        return [self._found[name] for name in names if name in self._found]
