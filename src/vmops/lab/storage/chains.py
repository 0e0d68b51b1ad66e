"""Virtual disks on the datastores: what a descriptor and those below it amount to.

A `Link` is one descriptor with its data file, a chain is a disk's links from the top down. All
that a descriptor says is checked here; nothing it names is opened before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vmops.lab.hypervisor.port import DiskLayer
from vmops.lab.storage import qcow2, sparse
from vmops.lab.storage.descriptor import (
    LARGEST_DESCRIPTOR,
    NO_PARENT_CID,
    SECTOR,
    Adapter,
    Descriptor,
    DescriptorError,
    geometry,
    is_plain_name,
)
from vmops.lab.storage.errors import InvalidDatastorePath, InvalidDisk, UnknownDatastore
from vmops.lab.storage.layers import DiskFile, Layer, RawLayer
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.qcow2 import Qcow2Layer
from vmops.lab.storage.sparse import SparseLayer
from vmops.lab.storage.volumes import Volumes

DiskKind = Literal["flat", "delta", "sparse", "streamOptimized"]
Provisioning = Literal["thin", "thick", "eagerZeroedThick"]

_LONGEST_CHAIN = 255
_THIN = "thinProvisioned"
COPIED = "vmops.copied"
"""Of a disk that was copied with the one that stands on it, and is there for that one alone."""
EAGERLY_ZEROED = "vmops.eagerlyZeroed"
"""VMFS itself knows which blocks were zeroed and its descriptors do not say; this entry does."""
_FOREIGN = {
    qcow2.MAGIC: "it is a qcow2 image, not a VMDK file",
    b"COWD": "it is a delta in ESX's own sparse format, which is not supported",
    b"PK\x03\x04": "it is a ZIP archive, not a VMDK file",
    b"\x1f\x8b": "it is compressed with gzip, not a VMDK file",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInfo:
    """A virtual disk as others need it; see `DiskStore.inspect`."""

    path: DatastorePath
    capacity_bytes: int
    kind: DiskKind
    provisioning: Provisioning
    adapter: Adapter
    uuid: str
    """``60 00 C2 9x ...``; "" where the descriptor has none."""
    cid: str
    parent: DatastorePath | None
    is_copied: bool
    """Whether it was copied for the one disk that stands on it, and goes with that."""
    layers: tuple[DiskLayer, ...]
    """The host's files, top first; () for a kind that guests cannot run on."""
    files: tuple[DatastorePath, ...]
    """What belongs to this disk alone: the descriptor and its data file, no parent's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One descriptor of a chain.

    ``data`` is the file that holds the content; for a hosted sparse disk that is ``path`` itself.
    """

    path: DatastorePath
    kind: DiskKind
    descriptor: Descriptor
    capacity_bytes: int
    data: DatastorePath
    data_file: Path
    parent: DatastorePath | None

    @property
    def provisioning(self) -> Provisioning:
        """How its space is allocated."""
        if self.kind != "flat" or self.descriptor.ddb.get(_THIN) == "1":
            return "thin"
        return "eagerZeroedThick" if self.descriptor.ddb.get(EAGERLY_ZEROED) == "1" else "thick"

    @property
    def files(self) -> tuple[DatastorePath, ...]:
        """The files that are this link's alone."""
        return (self.path,) if self.data == self.path else (self.path, self.data)

    def open(self, *, locked: bool = True) -> Layer:
        """Open the content.

        Raises:
            FileMissing, FileInUse, InvalidDisk: see `DiskFile` and the layers.
        """
        file = DiskFile(self.data_file, self.data, locked=locked)
        if self.kind == "flat":
            return RawLayer(file, self.capacity_bytes)
        if self.kind == "delta":
            layer = Qcow2Layer(file)
            if layer.capacity_bytes == self.capacity_bytes:
                return layer
            layer.close()
            raise InvalidDisk(self.path, "its descriptor and its data differ in size")
        return SparseLayer(file)

    def resized(self, capacity_bytes: int, *, eager: bool) -> Descriptor:
        """The descriptor of a flat disk that has grown, its new part zeroed now or not."""
        shape = geometry(capacity_bytes, self.descriptor.adapter)
        ddb = {
            **self.descriptor.ddb,
            "geometry.cylinders": str(shape.cylinders),
            "geometry.heads": str(shape.heads),
            "geometry.sectors": str(shape.sectors),
        }
        if not eager:
            ddb.pop(EAGERLY_ZEROED, None)
        (extent,) = self.descriptor.extents
        grown = replace(extent, sectors=capacity_bytes // SECTOR)
        return replace(self.descriptor, extents=(grown,), ddb=ddb)

    def renamed(self, path: DatastorePath, data: DatastorePath) -> Descriptor:
        """The descriptor at another place, with its data there too; a parent stays the same."""
        (extent,) = self.descriptor.extents
        hint = None if self.parent is None else parent_hint(path, self.parent)
        moved = replace(extent, file_name=data.name)
        return replace(self.descriptor, extents=(moved,), parent_hint=hint)


def provisioning_entries(provisioning: Provisioning) -> dict[str, str]:
    """The ``ddb`` entries that record how a flat disk's space is allocated."""
    if provisioning == "thin":
        return {_THIN: "1"}
    return {EAGERLY_ZEROED: "1"} if provisioning == "eagerZeroedThick" else {}


def load_link(volumes: Volumes, path: DatastorePath) -> Link:
    """Read and check the descriptor at ``path``; its data file may be missing.

    Raises:
        FileMissing, InvalidDatastorePath, UnknownDatastore: there is no such file.
        InvalidDisk: it is not a virtual disk the lab can use; the reason says why.
    """
    file = volumes.resolve(path)
    opened = DiskFile(file, path, locked=False)
    try:
        if opened.size_bytes == 0:
            raise InvalidDisk(path, "it is empty")
        start = opened.read_exactly(0, min(opened.size_bytes, 4), "its header")
        if start == sparse.MAGIC:
            return _sparse_link(path, file)
        for magic, reason in _FOREIGN.items():
            if start.startswith(magic):
                raise InvalidDisk(path, reason)
        length = min(opened.size_bytes, LARGEST_DESCRIPTOR + 1)
        content = opened.read_exactly(0, length, "its descriptor")
    finally:
        opened.close()
    try:
        return _described_link(volumes, path, Descriptor.parse(content))
    except DescriptorError as error:
        raise InvalidDisk(path, str(error)) from error


def _sparse_link(path: DatastorePath, file: Path) -> Link:
    layer = SparseLayer(DiskFile(file, path, locked=False))
    layer.close()
    return Link(
        path=path,
        kind="streamOptimized" if layer.is_compressed else "sparse",
        descriptor=layer.descriptor,
        capacity_bytes=layer.capacity_bytes,
        data=path,
        data_file=file,
        parent=None,
    )


def _described_link(volumes: Volumes, path: DatastorePath, descriptor: Descriptor) -> Link:
    if len(descriptor.extents) != 1:
        raise DescriptorError("it is split into several files, which is not supported")
    (extent,) = descriptor.extents
    kinds: dict[str, DiskKind] = {"VMFS": "flat", "FLAT": "flat", "VMFSSPARSE": "delta"}
    kind = kinds.get(extent.kind)
    if kind is None or extent.file_name is None or extent.offset_sectors:
        raise DescriptorError(f"an extent of kind {extent.kind[:20]} is not supported here")
    if extent.sectors == 0:
        raise DescriptorError("its size is zero")
    if extent.file_name == path.name:
        raise DescriptorError("its descriptor names itself as its data")
    has_parent = descriptor.parent_hint is not None and descriptor.parent_cid != NO_PARENT_CID
    if has_parent != (kind == "delta"):
        raise DescriptorError("a delta has a parent, and nothing else has one")
    try:
        data = path.sibling(extent.file_name)
        data_file = volumes.resolve(data)
    except InvalidDatastorePath as error:
        raise DescriptorError("its descriptor names a file outside its folder") from error
    return Link(
        path=path,
        kind=kind,
        descriptor=descriptor,
        capacity_bytes=descriptor.capacity_bytes,
        data=data,
        data_file=data_file,
        parent=_parent(path, descriptor.parent_hint) if kind == "delta" else None,
    )


def _parent(path: DatastorePath, hint: str | None) -> DatastorePath:
    try:
        if hint is not None and is_plain_name(hint):
            return path.sibling(hint)
        return DatastorePath.parse_vmfs(hint or "")
    except InvalidDatastorePath as error:
        raise DescriptorError("its parent is named outside the datastores") from error


def parent_hint(child: DatastorePath, parent: DatastorePath) -> str:
    """How the descriptor at ``child`` names its parent."""
    return parent.name if child.parent == parent.parent else parent.vmfs_form


def load_chain(volumes: Volumes, path: DatastorePath) -> tuple[Link, ...]:
    """The disk's links, top first, down to one without a parent.

    Raises:
        FileMissing: the descriptor at ``path``, or one below it, is missing.
        InvalidDisk: one is unusable, the chain is a loop, or a parent was replaced since.
        InvalidDatastorePath, UnknownDatastore: there can be no such file.
    """
    links = [load_link(volumes, path)]
    while (parent_path := links[-1].parent) is not None:
        if len(links) == _LONGEST_CHAIN or any(link.path == parent_path for link in links):
            raise InvalidDisk(path, "its chain of parents has no end")
        try:
            parent = load_link(volumes, parent_path)
        except UnknownDatastore as error:
            raise InvalidDisk(path, "its parent is named outside the datastores") from error
        if parent.descriptor.cid != links[-1].descriptor.parent_cid:
            raise InvalidDisk(path, "its parent was modified since the child was made")
        if parent.kind not in {"flat", "delta"}:
            raise InvalidDisk(parent_path, "a hosted sparse disk cannot be a parent")
        links.append(parent)
    return tuple(links)


def describe(chain: tuple[Link, ...]) -> DiskInfo:
    """The public view of a chain."""
    top = chain[0]
    formats: dict[DiskKind, Literal["raw", "qcow2"]] = {"flat": "raw", "delta": "qcow2"}
    return DiskInfo(
        path=top.path,
        capacity_bytes=top.capacity_bytes,
        kind=top.kind,
        provisioning=top.provisioning,
        adapter=top.descriptor.adapter,
        uuid=top.descriptor.uuid,
        cid=top.descriptor.cid,
        parent=top.parent,
        is_copied=top.descriptor.ddb.get(COPIED) == "1",
        layers=tuple(
            DiskLayer(file=link.data_file, file_format=formats[link.kind])
            for link in chain
            if link.kind in formats
        ),
        files=top.files,
    )


@contextmanager
def opened(chain: tuple[Link, ...], *, locked: bool = True) -> Iterator[list[Layer]]:
    """The chain's layers, top first, open for reading, under locks unless told otherwise.

    Raises:
        FileMissing, FileInUse, InvalidDisk: see `Link.open`.
    """
    with ExitStack() as stack:
        layers: list[Layer] = []
        for link in chain:
            layers.append(link.open(locked=locked))
            stack.callback(layers[-1].close)
        yield layers
