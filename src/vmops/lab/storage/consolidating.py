"""Shortening chains: a delta's content goes into the disk under it, and the delta goes.

Nothing below a disk may change under another disk's feet: a disk that others stand on, be they
powered off, takes no content in. Who wants their chain shorter all the same copies it with
`DiskStore.copy`.

For a chain that a guest runs on the guest's hypervisor moves the content; `drop_committed` then
does what is left, to the descriptors.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from vmops.lab.storage.chains import Link, load_chain, load_link, opened, parent_hint
from vmops.lab.storage.descriptor import LARGEST_DESCRIPTOR, fresh_cid
from vmops.lab.storage.errors import DiskHasChildren, InvalidDisk, StorageError, host_errors
from vmops.lab.storage.layers import Cancelled, Layer, Progress, Run, RunKind, Watch
from vmops.lab.storage.locks import exclusive
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.placing import write_descriptor
from vmops.lab.storage.qcow2_writing import write_delta
from vmops.lab.storage.volumes import Volumes
from vmops.lab.storage.writing import publish, write_all
from vmops.lab.whole_files import partial_beside

_AT_ONCE = 1024 * 1024
_DATA_ENDINGS = ("-flat.vmdk", "-delta.vmdk")


def children(volumes: Volumes, path: DatastorePath) -> tuple[DatastorePath, ...]:
    """The disks on any datastore that stand on the disk at ``path``. Reads all descriptors."""
    found = []
    for name in volumes.names:
        for file in sorted(volumes.root(name).rglob("*.vmdk")):
            if file.name.endswith(_DATA_ENDINGS) or file.is_symlink():
                continue
            with suppress(StorageError, OSError):
                if file.stat().st_size <= LARGEST_DESCRIPTOR:
                    child = volumes.locate(file)
                    if load_link(volumes, child).parent == path:
                        found.append(child)
    return tuple(found)


def check_commit(volumes: Volumes, top: DatastorePath, into: DatastorePath) -> None:
    """Check that what lies in ``top`` may go down into ``into``, with all that lies between.

    Raises:
        DiskHasChildren: another disk stands on ``into`` or on one between.
        InvalidDisk: ``into`` is not under ``top``, or differs in size.
        FileMissing: a disk of the chain is missing.
    """
    _links_between(volumes, top, into)


def commit(
    volumes: Volumes,
    top: DatastorePath,
    into: DatastorePath,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    before_drop: Callable[[], None] | None = None,
) -> None:
    """Merge ``top``, and what lies between, into ``into``, of a chain that nobody has open.

    What stood on ``top`` stands on ``into`` then, and the merged disks are gone. Cut off or failed
    in the middle, the disk at ``top`` still has its content, and it can be done again.
    ``before_drop`` is called when ``into`` has all of the content and no disk is gone yet.

    Raises:
        DiskHasChildren, InvalidDisk, FileMissing: see `check_commit`.
        FileInUse: a guest runs on the chain.
        NoSpace: the datastore is full.
        CopyCancelled: ``cancelled`` said so.
    """
    links = _links_between(volumes, top, into)
    with exclusive([(link.data_file, link.data) for link in links]):
        target = links[-1]
        watch = Watch(target.capacity_bytes, progress, cancelled)
        if target.kind == "flat":
            _write_into_flat(volumes, links, watch)
        else:
            _write_new_delta(volumes, links, watch)
        watch.at(target.capacity_bytes)
        if before_drop is not None:
            before_drop()
        _drop(volumes, links)


def drop_committed(volumes: Volumes, top: DatastorePath, into: DatastorePath) -> None:
    """Do what `commit` does, but for the content, which a running guest has moved already.

    Raises:
        DiskHasChildren, InvalidDisk, FileMissing: see `check_commit`.
        FileInUse: a guest still has a disk open that is to go.
    """
    links = _links_between(volumes, top, into)
    with exclusive([(link.data_file, link.data) for link in links[:-1]]):
        _drop(volumes, links)


def _links_between(volumes: Volumes, top: DatastorePath, into: DatastorePath) -> tuple[Link, ...]:
    """The links from ``top`` down to ``into``, both included."""
    chain = load_chain(volumes, top)
    paths = [link.path for link in chain]
    if into not in paths[1:]:
        raise InvalidDisk(top, f"{into} is not among the disks under it")
    links = chain[: paths.index(into) + 1]
    for above, link in itertools.pairwise(links):
        if link.capacity_bytes != above.capacity_bytes:
            raise InvalidDisk(above.path, f"its size differs from that of {link.path}")
        others = [child for child in children(volumes, link.path) if child != above.path]
        if others:
            raise DiskHasChildren(link.path, others)
    return links


def _runs(layers: Sequence[Layer], start: int, end: int) -> Iterator[tuple[Run, Layer]]:
    """What the layers, top first, say themselves of the disk: data and zeros."""
    top, *below = layers
    for run in top.runs(start, end):
        if run.kind is not RunKind.BELOW:
            yield run, top
        elif below:
            yield from _runs(below, run.start, run.end)


def _write_into_flat(volumes: Volumes, links: Sequence[Link], watch: Watch) -> None:
    """Bring the content down; zeros are written only where there is other data."""
    target = links[-1]
    datastore = target.data.datastore
    with (
        opened(tuple(links), locked=False) as layers,
        host_errors(target.data, datastore),
        target.data_file.open("r+b") as file,
    ):
        *above, flat = layers
        for run, layer in _pieces(_runs(above, 0, target.capacity_bytes)):
            watch.at(run.start)
            held = [each for each in flat.runs(run.start, run.end) if each.kind is RunKind.DATA]
            if run.kind is RunKind.ZERO:
                for each in held:
                    write_all(file.fileno(), each.start, bytes(each.end - each.start))
                continue
            data = layer.read(run.start, run.end)
            if target.provisioning == "thin":
                there = sum(each.end - each.start for each in held)
                volumes.spend(datastore, len(data) - there)
            write_all(file.fileno(), run.start, data)
        os.fsync(file.fileno())


def _write_new_delta(volumes: Volumes, links: Sequence[Link], watch: Watch) -> None:
    target = links[-1]
    datastore = target.data.datastore
    partial = partial_beside(target.data_file)
    passes = itertools.count()
    try:
        with (
            opened(tuple(links), locked=False) as layers,
            host_errors(target.data, datastore),
            partial.open("xb") as file,
        ):

            def runs() -> Iterator[tuple[Run, Layer]]:
                # Read twice: for the tables, and for the data.
                before = next(passes) * target.capacity_bytes
                for run, layer in _pieces(_runs(layers, 0, target.capacity_bytes)):
                    watch.at((before + run.start) // 2)
                    yield run, layer

            os.fchmod(file.fileno(), 0o600)
            write_delta(
                file.fileno(),
                target.capacity_bytes,
                runs,
                lambda count: volumes.spend(datastore, count),
            )
            os.fsync(file.fileno())
            publish(partial, target.data_file, replace=True)
    except ValueError as error:
        raise InvalidDisk(target.path, str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def _pieces(runs: Iterable[tuple[Run, Layer]]) -> Iterator[tuple[Run, Layer]]:
    """The runs in pieces of a MiB, so that a long one can be watched and stopped too."""
    for run, layer in runs:
        for start in range(run.start, run.end, _AT_ONCE):
            yield Run(start, min(run.end, start + _AT_ONCE), run.kind), layer


def _drop(volumes: Volumes, links: Sequence[Link]) -> None:
    """Hang what stands on the top link onto the bottom one, and delete those above that."""
    target = links[-1]
    # Its content is another than before, which is what a CID is to show.
    renewed = replace(target.descriptor, cid=fresh_cid())
    write_descriptor(volumes, target.path, renewed, replace=True)
    for path in children(volumes, links[0].path):
        child = load_link(volumes, path)
        moved = replace(
            child.descriptor, parent_cid=renewed.cid, parent_hint=parent_hint(path, target.path)
        )
        write_descriptor(volumes, path, moved, replace=True)
    for link in links[:-1]:
        for file in reversed(link.files):
            with host_errors(file, file.datastore):
                volumes.resolve(file).unlink(missing_ok=True)
