"""What the process runs that is interrupted in the middle of a spawn."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tests.builders import an_instance
from tests.faults.own_process import connect
from vmops import DirectoryImageStore, EngineSettings, VMwareVMOps
from vmops.model.image import Image

HELD = "half of the image is there"


def program() -> str:
    return "from tests.faults import spawning; spawning.main()"


class HoldingStore(DirectoryImageStore):
    """Gives half of an image, says so, and then nothing for a long time."""

    @contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        with super().open(image) as stream:
            yield _Holding(stream, image.size_bytes // 2)  # type: ignore[misc]


class _Holding:
    def __init__(self, stream: BinaryIO, half: int) -> None:
        self._stream = stream
        self._left = half

    def readinto(self, buffer: memoryview) -> int:
        if self._left == 0:
            sys.stdout.write(f"{HELD}\n")
            sys.stdout.flush()
            time.sleep(60)
        block = self._stream.read(min(len(buffer), self._left))
        self._left -= len(block)
        buffer[: len(block)] = block
        return len(block)


def main() -> None:
    folder, image = sys.argv[1:]
    with connect() as session:
        ops = VMwareVMOps(
            session,
            images=HoldingStore(Path(folder)),
            config=EngineSettings(datastore="datastore1"),
            observe=lambda event: None,
        )
        ops.spawn(None, an_instance(), image, None)
