"""What lies in several layers of a disk is written to one of them.

Whoever calls has the files to themselves. Cut off in the middle, the disk above still has its
content: the layer written to has the same in it as far as it has come.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import DiskLayer
from vmops.lab.storage.errors import InvalidDisk, StorageError
from vmops.lab.storage.layers import DiskFile, Layer, RawLayer, Run, RunKind, Watch
from vmops.lab.storage.locks import exclusive
from vmops.lab.storage.qcow2 import CLUSTER_BYTES, Qcow2Layer
from vmops.lab.storage.qcow2_writing import write_delta
from vmops.lab.storage.writing import publish, write_all
from vmops.lab.whole_files import partial_beside

Spend = Callable[[int], None]
"""Accounts for bytes about to be written, or raises NoSpace."""

_AT_ONCE = 1024 * 1024


def write_into_flat(
    above: Sequence[Layer], flat: Layer, file: Path, spend: Spend, watch: Watch
) -> None:
    """Write what the layers ``above`` say of the disk, top first, to the flat file under them.

    Zeros are written only where there is other data; ``spend`` is told of what was a hole.

    Raises:
        InvalidDisk: a layer is damaged.
        OSError: the file cannot be written.
    """
    with file.open("r+b") as target:
        for run, layer in _pieces(_runs(above, 0, flat.capacity_bytes)):
            watch.at(run.start)
            held = [each for each in flat.runs(run.start, run.end) if each.kind is RunKind.DATA]
            if run.kind is RunKind.ZERO:
                for each in held:
                    write_all(target.fileno(), each.start, bytes(each.end - each.start))
                continue
            data = layer.read(run.start, run.end)
            spend(len(data) - sum(each.end - each.start for each in held))
            write_all(target.fileno(), run.start, data)
        os.fsync(target.fileno())
    watch.at(flat.capacity_bytes)


def write_new_delta(
    layers: Sequence[Layer], file: Path, name: object, spend: Spend, watch: Watch
) -> None:
    """Replace a delta by one that says of the disk what the layers do, top first.

    Raises:
        InvalidDisk: a layer is damaged, or has clusters of another size than the lab's.
        OSError: the file cannot be written; the old one is there.
    """
    capacity_bytes = layers[0].capacity_bytes
    partial = partial_beside(file)
    passes = itertools.count()

    def runs() -> Iterator[tuple[Run, Layer]]:
        # Read twice: for the tables, and for the data.
        before = next(passes) * capacity_bytes
        for run, layer in _pieces(_runs(layers, 0, capacity_bytes)):
            watch.at((before + run.start) // 2)
            yield run, layer

    try:
        with partial.open("xb") as target:
            os.fchmod(target.fileno(), 0o600)
            write_delta(target.fileno(), capacity_bytes, runs, spend)
            os.fsync(target.fileno())
        publish(partial, file, replace=True)
    except ValueError as error:
        raise InvalidDisk(name, str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
    watch.at(capacity_bytes)


def _runs(layers: Sequence[Layer], start: int, end: int) -> Iterator[tuple[Run, Layer]]:
    """What the layers, top first, say themselves of the disk: data and zeros."""
    top, *below = layers
    for run in top.runs(start, min(end, top.capacity_bytes)):
        if run.kind is not RunKind.BELOW:
            yield run, top
        elif below:
            yield from _runs(below, run.start, run.end)


def _pieces(runs: Iterable[tuple[Run, Layer]]) -> Iterator[tuple[Run, Layer]]:
    """The runs in pieces of a MiB, so that a long one can be watched and stopped too."""
    for run, layer in runs:
        for start in range(run.start, run.end, _AT_ONCE):
            yield Run(start, min(run.end, start + _AT_ONCE), run.kind), layer


class LayerFiles:
    """Moves the content of disks' files for machines that no guest runs on."""

    def merge(self, layers: Sequence[DiskLayer]) -> None:
        """Write what all layers but the last say, top first, to the last. Blocking.

        Raises:
            HypervisorError: a layer is damaged, missing, or held by another, or the last cannot be
                written; the disk has its content.
        """
        with _held(layers), _opened(layers) as opened:
            self._write(opened[:-1], opened[-1], layers[-1])

    def copy(self, source: Sequence[DiskLayer], target: Sequence[DiskLayer]) -> None:
        """Write a disk to other files, which have its size. Blocking.

        To a single layer goes the whole disk; else what is in the topmost goes to the topmost.

        Raises:
            HypervisorError: as `merge` does.
        """
        chosen = source if len(target) == 1 else source[:1]
        with _held(target[:1]), _opened([*chosen, target[0]]) as opened:
            self._write(opened[:-1], opened[-1], target[0])

    @staticmethod
    def _write(above: Sequence[Layer], layer: Layer, target: DiskLayer) -> None:
        watch = Watch(layer.capacity_bytes, None, None)
        if target.file_format == "raw":
            write_into_flat(above, layer, target.file, _counted_nowhere, watch)
        else:
            whole = [_InClusters(each) if isinstance(each, RawLayer) else each for each in above]
            write_new_delta([*whole, layer], target.file, target.file.name, _counted_nowhere, watch)


class _InClusters:
    """A flat file whose runs begin and end with clusters of a delta."""

    def __init__(self, flat: RawLayer) -> None:
        self._flat = flat
        self.capacity_bytes = flat.capacity_bytes

    def runs(self, start: int, end: int) -> Iterator[Run]:
        """See `layers.Layer`."""
        for position in range(start, end, CLUSTER_BYTES):
            stop = min(end, position + CLUSTER_BYTES)
            is_data = any(run.kind is RunKind.DATA for run in self._flat.runs(position, stop))
            yield Run(position, stop, RunKind.DATA if is_data else RunKind.ZERO)

    def read(self, start: int, end: int) -> bytes:
        """See `layers.Layer`."""
        return self._flat.read(start, end)

    def close(self) -> None:
        """See `layers.Layer`."""
        self._flat.close()


@contextmanager
def _held(layers: Sequence[DiskLayer]) -> Iterator[None]:
    """Have the files to oneself, and raise what goes wrong as HypervisorError."""
    try:
        with exclusive([(each.file, each.file.name) for each in layers]):
            yield
    except (StorageError, OSError) as error:
        text = error.strerror if isinstance(error, OSError) else error
        raise HypervisorError(f"the disk's content cannot be moved: {text}") from error


@contextmanager
def _opened(layers: Sequence[DiskLayer]) -> Iterator[list[Layer]]:
    with ExitStack() as stack:
        opened: list[Layer] = []
        for each in layers:
            file = DiskFile(each.file, each.file.name, locked=False)
            is_raw = each.file_format == "raw"
            opened.append(RawLayer(file, file.size_bytes) if is_raw else Qcow2Layer(file))
            stack.callback(opened[-1].close)
        yield opened


def _counted_nowhere(count: int) -> None:
    """Whoever moves a disk has asked for the room before."""
