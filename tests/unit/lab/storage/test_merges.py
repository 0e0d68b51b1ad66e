"""Merges of every size: what a reader sees before and after, put together by qemu-img."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lab.storage.conftest import MIB, content, names, one, tool, write_all
from vmops.lab.storage.chains import load_link
from vmops.lab.storage.consolidating import commit
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import InvalidDisk
from vmops.lab.storage.layers import RunKind, flattened
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.placing import write_descriptor
from vmops.lab.storage.volumes import Volumes

SECTOR, CLUSTER = 512, 65536
CLUSTERS = [0, 1, 2, 6, 7, 8, 31, 32, 33, 64, 200]
CAPACITIES = [
    SECTOR, CLUSTER - SECTOR, CLUSTER, CLUSTER + SECTOR, 7 * CLUSTER, 33 * CLUSTER + SECTOR,
]  # fmt: skip
L2_SPAN = 8192 * CLUSTER


@pytest.fixture(scope="module")
def qemu_img_tool() -> Callable[..., str]:
    return tool("qemu-img")


@pytest.fixture(scope="module")
def qemu_io_tool() -> Callable[..., str]:
    return tool("qemu-io")


@dataclass(frozen=True)
class Change:
    """What a guest does to a disk that stands at some layer."""

    verb: str
    start: int
    length: int

    def command(self, pattern: int) -> str:
        verb = f"write -P {pattern}" if self.verb == "write" else self.verb
        return f"{verb} {self.start} {self.length}"


@st.composite
def changes(draw: st.DrawFn, capacity_bytes: int) -> Change:
    sectors = capacity_bytes // SECTOR
    edges = [at for at in (0, 127, 128, 129, sectors - 1) if at < sectors]
    start = draw(st.one_of(st.sampled_from(edges), st.integers(0, sectors - 1)))
    longest = min(sectors - start, 10 * 128)
    length = draw(
        st.one_of(st.integers(1, longest), st.sampled_from([1, min(longest, 128), longest]))
    )
    verb = draw(st.sampled_from(["write", "write", "write -z", "discard"]))
    return Change(verb, start * SECTOR, length * SECTOR)


@dataclass(frozen=True)
class History:
    """A disk's size, what was done at each of its layers from the base up, and the merge."""

    capacity_bytes: int
    layers: tuple[tuple[Change, ...], ...]
    top: int
    into: int


@st.composite
def histories(draw: st.DrawFn) -> History:
    capacity_bytes = draw(st.sampled_from(CAPACITIES))
    each = st.lists(changes(capacity_bytes), max_size=4).map(tuple)
    layers = tuple(draw(st.lists(each, min_size=2, max_size=4)))
    top = draw(st.integers(1, len(layers) - 1))
    into = draw(st.integers(0, top - 1))
    return History(capacity_bytes, layers, top, into)


@contextmanager
def datastore() -> Iterator[tuple[DiskStore, Path]]:
    root = Path(tempfile.mkdtemp(prefix="vmops-merges-"))
    try:
        yield DiskStore(Volumes({"one": root})), root
    finally:
        shutil.rmtree(root)


def write(
    store: DiskStore, path: DatastorePath, commands: list[str], qemu_io: Callable[..., str]
) -> None:
    """Let QEMU write to a disk as it does for a guest: over all that lies below."""
    top, *below = store.inspect(path).layers
    options = [f"driver={'qcow2' if below else 'raw'},file.driver=file,file.filename={top.file}"]
    prefix = "backing."
    for layer in below:
        options.append(
            f"{prefix}driver={layer.file_format},{prefix}file.driver=file,"
            f"{prefix}file.filename={layer.file}"
        )
        prefix += "backing."
    arguments = [part for command in commands for part in ("-c", command)]
    qemu_io("-d", "unmap", "--image-opts", *arguments, ",".join(options))


def built(
    store: DiskStore, history: History, qemu_io: Callable[..., str]
) -> tuple[DatastorePath, ...]:
    paths = [one("disk.vmdk")]
    store.create(paths[0], history.capacity_bytes)
    for number, layer in enumerate(history.layers):
        if number:
            paths.append(one(f"disk-00000{number}.vmdk"))
            store.create_child(paths[-1], paths[-2])
        if layer:
            commands = [change.command(number * 16 + at + 1) for at, change in enumerate(layer)]
            write(store, paths[-1], commands, qemu_io)
    return tuple(paths)


def our_view(store: DiskStore, path: DatastorePath) -> bytes:
    chain = store.inspect_chain(path)
    links = [load_link(store.volumes, info.path).open(locked=False) for info in chain]
    seen = bytearray(chain[0].capacity_bytes)
    for offset, data in flattened(links):
        seen[offset : offset + len(data)] = data
    for layer in links:
        layer.close()
    return bytes(seen)


@given(history=histories())
@settings(max_examples=40)
def test_a_merge_changes_nothing_that_is_read(
    history: History, qemu_img_tool: Callable[..., str], qemu_io_tool: Callable[..., str]
) -> None:
    with datastore() as (store, root), tempfile.TemporaryDirectory() as scratch:
        paths = built(store, history, qemu_io_tool)
        seen = {
            path: content(store, path, Path(scratch), qemu_img_tool)
            for number, path in enumerate(paths)
            if not history.into <= number < history.top
        }
        top, into = paths[history.top], paths[history.into]
        shown: list[int] = []
        commit(store.volumes, top, into, shown.append)
        assert shown == sorted(shown)
        assert shown[-1] == 100
        seen[into] = seen.pop(top)
        for path, expected in seen.items():
            assert content(store, path, Path(scratch), qemu_img_tool) == expected, path
            assert our_view(store, path) == expected, path
        for layer in store.inspect(max(seen, key=paths.index)).layers:
            if layer.file_format == "qcow2":
                assert "No errors" in qemu_img_tool("check", "-f", "qcow2", layer.file)
        assert len(names(root)) == 2 * len(seen)


@pytest.mark.parametrize("clusters", CLUSTERS)
@pytest.mark.parametrize("is_into_base", [True, False])
def test_any_number_of_clusters_is_merged(
    store: DiskStore,
    tmp_path: Path,
    qemu_img: Callable[..., str],
    qemu_io: Callable[..., str],
    clusters: int,
    is_into_base: bool,
) -> None:
    base, middle, top = one("base.vmdk"), one("middle.vmdk"), one("top.vmdk")
    store.create(base, 64 * MIB)
    store.create_child(middle, base)
    if clusters:
        write(store, middle, [f"write -P 7 0 {clusters * CLUSTER}"], qemu_io)
    store.create_child(top, middle)
    write(store, top, [f"write -P 9 {clusters * CLUSTER} 512"], qemu_io)
    before = content(store, top, tmp_path, qemu_img)
    into = base if is_into_base else middle
    commit(store.volumes, top, into)
    assert content(store, into, tmp_path, qemu_img) == before


def test_a_merge_goes_over_the_end_of_a_table(
    store: DiskStore, tmp_path: Path, qemu_img: Callable[..., str], qemu_io: Callable[..., str]
) -> None:
    base, middle, top = one("base.vmdk"), one("middle.vmdk"), one("top.vmdk")
    store.create(base, L2_SPAN + 3 * CLUSTER)
    store.create_child(middle, base)
    write(store, middle, [f"write -P 7 {L2_SPAN - 9 * CLUSTER} {11 * CLUSTER}"], qemu_io)
    store.create_child(top, middle)
    write(store, top, [f"write -z {L2_SPAN - CLUSTER} {2 * CLUSTER}"], qemu_io)
    before = content(store, top, tmp_path, qemu_img)
    for over, into in ((top, middle), (middle, base)):
        commit(store.volumes, over, into)
        assert content(store, into, tmp_path, qemu_img) == before


@pytest.mark.parametrize("more", [SECTOR, CLUSTER, 3 * MIB + SECTOR])
def test_deltas_longer_than_their_parent_are_merged_with_each_other_only(
    store: DiskStore,
    root: Path,
    tmp_path: Path,
    qemu_img: Callable[..., str],
    qemu_io: Callable[..., str],
    more: int,
) -> None:
    short = 3 * CLUSTER + SECTOR
    base, middle, top = one("base.vmdk"), one("middle.vmdk"), one("top.vmdk")
    store.create(base, short)
    write(store, base, [f"write -P 1 0 {short}"], qemu_io)
    store.create_child(middle, base)
    grow_delta(store, middle, short + more, qemu_img)
    write(store, middle, [f"write -P 2 {short} {more}"], qemu_io)
    store.create_child(top, middle)
    write(store, top, [f"write -P 3 {short - SECTOR} {2 * SECTOR}"], qemu_io)
    before = content(store, top, tmp_path, qemu_img)
    files = names(root)
    with pytest.raises(InvalidDisk, match="its size differs from that of"):
        commit(store.volumes, top, base)
    assert names(root) == files
    commit(store.volumes, top, middle)
    assert content(store, middle, tmp_path, qemu_img) == before
    assert our_view(store, middle) == before


def grow_delta(
    store: DiskStore, path: DatastorePath, capacity_bytes: int, qemu_img: Callable[..., str]
) -> None:
    link = load_link(store.volumes, path)
    qemu_img("resize", "-f", "qcow2", link.data_file, capacity_bytes)
    (extent,) = link.descriptor.extents
    longer = replace(extent, sectors=capacity_bytes // SECTOR)
    write_descriptor(store.volumes, path, replace(link.descriptor, extents=(longer,)), replace=True)


@pytest.mark.parametrize("kind", ["flat", "delta", "sparse", "streamOptimized"])
def test_a_layer_of_any_kind_is_read_as_often_as_one_wants(
    store: DiskStore,
    root: Path,
    qemu_img: Callable[..., str],
    qemu_io: Callable[..., str],
    kind: str,
) -> None:
    disk, delta = one("flat.vmdk"), one("delta.vmdk")
    store.create(disk, 4 * MIB)
    store.create_child(delta, disk)
    for path in (disk, delta):
        write(store, path, ["write -P 7 64k 3M"], qemu_io)
    if kind == "sparse":
        qemu_img("convert", "-O", "vmdk", root / "flat-flat.vmdk", root / "sparse.vmdk")
    elif kind == "streamOptimized":
        with (root / "streamOptimized.vmdk").open("wb") as file:
            store.export_stream(disk, lambda data: write_all(file, data))
    link = load_link(store.volumes, one(f"{kind}.vmdk"))
    assert link.kind == kind
    layer = link.open()
    for _ in range(5):
        runs = [run for run in layer.runs(0, 4 * MIB) if run.kind is RunKind.DATA]
        assert sum(run.end - run.start for run in runs) == 3 * MIB
        assert {b for run in runs for b in layer.read(run.start, run.end)} == {7}
    # In pieces, as a layer that lies under another is.
    for _ in range(5):
        for at in range(0, 4 * MIB, CLUSTER):
            list(layer.runs(at, at + CLUSTER))
    layer.close()


def test_a_merge_takes_no_room_that_the_disk_has_already(
    root: Path, qemu_io: Callable[..., str], tmp_path: Path, qemu_img: Callable[..., str]
) -> None:
    root.mkdir(exist_ok=True)
    store = DiskStore(Volumes({"one": root}, capacity_bytes=20 * MIB))
    base, top = one("base.vmdk"), one("top.vmdk")
    store.create(base, 8 * MIB, provisioning="thick")
    store.create_child(top, base)
    write(store, top, ["write -P 5 0 7M"], qemu_io)
    before = content(store, top, tmp_path, qemu_img)
    with (root / "ballast").open("wb") as ballast:
        ballast.write(os.urandom(4 * MIB))
    commit(store.volumes, top, base)
    assert content(store, base, tmp_path, qemu_img) == before


def test_zeros_over_a_hole_take_no_room(
    store: DiskStore, root: Path, qemu_io: Callable[..., str]
) -> None:
    base, top = one("base.vmdk"), one("top.vmdk")
    store.create(base, 64 * MIB)
    store.create_child(top, base)
    write(store, top, ["write -z 0 64M"], qemu_io)
    commit(store.volumes, top, base)
    assert (root / "base-flat.vmdk").stat().st_blocks * SECTOR < MIB
