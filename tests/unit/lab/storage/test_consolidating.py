"""Chains made shorter: what a reader of the disk sees stays, and qemu-img agrees."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.unit.lab.storage.conftest import MIB, content, names, one
from vmops.lab.storage.consolidating import check_commit, children, commit, drop_committed
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import CopyCancelled, DiskHasChildren, FileInUse, InvalidDisk, NoSpace
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

CAPACITY = 5 * MIB + 512


@pytest.fixture
def chain(store: DiskStore, root: Path, qemu_io: Callable[..., str]) -> tuple[DatastorePath, ...]:
    """Base, three deltas over it, written here and there with data and with zeros."""
    random_places = random.Random(4)
    base = one("base.vmdk")
    store.create(base, CAPACITY)
    paths = [base]
    for number in range(1, 4):
        path = one(f"base-00000{number}.vmdk")
        store.create_child(path, paths[-1])
        paths.append(path)
    for number, path in enumerate(paths):
        layer = store.inspect(path).layers[0]
        commands: list[str] = []
        for _ in range(6):
            start = random_places.randrange(0, CAPACITY - 512, 512)
            length = min(CAPACITY - start, random_places.choice([512, 4096, 70000 // 512 * 512]))
            pattern = f"write -P {number + 1} {start} {length}"
            if layer.file_format == "qcow2":
                start, length = start // 65536 * 65536, 65536
                if start + length > CAPACITY:
                    continue
                kind = random_places.choice(["write -z", f"write -P {number + 1}"])
                pattern = f"{kind} {start} {length}"
            commands += ["-c", pattern]
        qemu_io("-f", layer.file_format, *commands, layer.file)
    return tuple(paths)


@pytest.mark.parametrize("merged", [(3, 0), (3, 2), (2, 1), (1, 0), (2, 0), (3, 1)])
def test_the_disk_reads_the_same_after_a_commit(
    store: DiskStore,
    root: Path,
    chain: tuple[DatastorePath, ...],
    qemu_img: Callable[..., str],
    tmp_path: Path,
    merged: tuple[int, int],
) -> None:
    top, into = merged
    seen = {
        path: content(store, path, tmp_path, qemu_img)
        for path in chain
        if chain.index(path) not in range(into, top)
    }
    shown: list[int] = []
    commit(store.volumes, chain[top], chain[into], shown.append)
    seen[chain[into]] = seen.pop(chain[top])
    for path, expected in seen.items():
        assert content(store, path, tmp_path, qemu_img) == expected, path
    gone = [chain[number] for number in range(into + 1, top + 1)]
    assert not {path.name for path in gone} & set(names(root))
    for layer in store.inspect(chain[3 if top < 3 else into]).layers:
        if layer.file_format == "qcow2":
            assert "No errors" in qemu_img("check", "-f", "qcow2", layer.file)
    assert shown[-1] == 100
    assert not [name for name in names(root) if "partial" in name]


def test_what_another_disk_stands_on_is_not_changed(
    store: DiskStore, volumes: Volumes, root: Path, chain: tuple[DatastorePath, ...]
) -> None:
    (root / "clone").mkdir()
    clone = one("clone/clone.vmdk")
    store.create_child(clone, chain[1], new_uuid=True)
    before = {file: file.read_bytes() for file in root.rglob("*.vmdk")}
    for top, into in ((3, 0), (2, 1), (2, 0), (3, 1)):
        with pytest.raises(DiskHasChildren, match=r"\[one\] clone/clone.vmdk stands on it"):
            commit(volumes, chain[top], chain[into])
        with pytest.raises(DiskHasChildren):
            check_commit(volumes, chain[top], chain[into])
        with pytest.raises(DiskHasChildren):
            drop_committed(volumes, chain[top], chain[into])
    assert {file: file.read_bytes() for file in root.rglob("*.vmdk")} == before
    assert set(children(volumes, chain[1])) == {chain[2], clone}
    # Both stand on what is merged, and both follow it.
    commit(volumes, chain[1], chain[0])
    assert set(children(volumes, chain[0])) == {chain[2], clone}
    store.inspect(clone)
    store.inspect(chain[3])


def test_a_commit_that_cannot_be_leaves_the_chain(
    store: DiskStore,
    volumes: Volumes,
    root: Path,
    chain: tuple[DatastorePath, ...],
    held_by_qemu: Callable[..., AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidDisk, match="not among the disks under it"):
        commit(volumes, chain[1], chain[2])
    listed = names(root)
    middle = store.inspect(chain[2]).layers[0]
    with held_by_qemu(middle.file, "qcow2"), pytest.raises(FileInUse):
        commit(volumes, chain[3], chain[1])
    with pytest.raises(CopyCancelled):
        commit(volumes, chain[3], chain[1], cancelled=lambda: True)

    def full(datastore: str, _count: int) -> None:
        raise NoSpace(datastore)

    monkeypatch.setattr(volumes, "spend", full)
    with pytest.raises(NoSpace):
        commit(volumes, chain[2], chain[1])
    assert names(root) == listed
    store.inspect(chain[3])


def test_a_disk_in_use_grows_when_that_is_meant(
    store: DiskStore, root: Path, held_by_qemu: Callable[..., AbstractContextManager[None]]
) -> None:
    disk = one("x.vmdk")
    store.create(disk, MIB)
    with held_by_qemu(root / "x-flat.vmdk"):
        with pytest.raises(FileInUse):
            store.extend(disk, 2 * MIB)
        assert store.extend(disk, 2 * MIB, in_use=True).capacity_bytes == 2 * MIB
    assert (root / "x-flat.vmdk").stat().st_size == 2 * MIB
