"""Shortening chains: a delta's content goes into the disk under it, and the delta goes.

Nothing below a disk may change under another disk's feet: a disk that others stand on, be they
powered off, takes no content in. Who wants their chain shorter all the same copies it with
`DiskStore.copy`.

For a chain that a guest runs on the guest's hypervisor moves the content; `drop_committed` then
does what is left, to the descriptors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from vmops.lab import listing
from vmops.lab.storage.chains import Link, load_chain, load_link, opened, parent_hint
from vmops.lab.storage.descriptor import LARGEST_DESCRIPTOR, fresh_cid
from vmops.lab.storage.errors import DiskHasChildren, InvalidDisk, StorageError, host_errors
from vmops.lab.storage.layers import Cancelled, Progress, Watch
from vmops.lab.storage.locks import exclusive
from vmops.lab.storage.merging import write_into_flat, write_new_delta
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.placing import write_descriptor
from vmops.lab.storage.volumes import Volumes

_DATA_ENDINGS = ("-flat.vmdk", "-delta.vmdk")


def children(volumes: Volumes, path: DatastorePath) -> tuple[DatastorePath, ...]:
    """The disks on any datastore that stand on the disk at ``path``. Reads all descriptors."""
    found = []
    for name in volumes.names:
        for file in listing.below(volumes.root(name), ".vmdk"):
            if file.name.endswith(_DATA_ENDINGS):
                continue
            with suppress(StorageError, OSError):
                seen = listing.status(file)
                if seen is not None and seen.st_size <= LARGEST_DESCRIPTOR:
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
        _write(volumes, links, Watch(links[-1].capacity_bytes, progress, cancelled))
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


def _write(volumes: Volumes, links: Sequence[Link], watch: Watch) -> None:
    target = links[-1]
    datastore = target.data.datastore

    def spend(count: int) -> None:
        if target.kind == "delta" or target.provisioning == "thin":  # the others have their room
            volumes.spend(datastore, count)

    with opened(tuple(links), locked=False) as layers, host_errors(target.data, datastore):
        if target.kind == "flat":
            write_into_flat(layers[:-1], layers[-1], target.data_file, spend, watch)
        else:
            write_new_delta(layers, target.data_file, target.path, spend, watch)


def _drop(volumes: Volumes, links: Sequence[Link]) -> None:
    """Hang what stands on the top link onto the bottom one, and delete those above that.

    At each moment every disk has its chain: a child goes from one whole chain to another. For that
    the bottom keeps its CID as long as something stands on it; else it gets a new one, which is to
    show that its content is another.
    """
    target = links[-1]
    standing = children(volumes, links[0].path)
    for path in standing:
        child = load_link(volumes, path)
        moved = replace(
            child.descriptor,
            parent_cid=target.descriptor.cid,
            parent_hint=parent_hint(path, target.path),
        )
        write_descriptor(volumes, path, moved, replace=True)
    for link in links[:-1]:
        for file in reversed(link.files):
            with host_errors(file, file.datastore):
                volumes.resolve(file).unlink(missing_ok=True)
    if not standing:
        renewed = replace(target.descriptor, cid=fresh_cid())
        write_descriptor(volumes, target.path, renewed, replace=True)
