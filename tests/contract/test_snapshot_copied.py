"""Snapshot where the endpoint exports no snapshots: the disk is copied first, on every back end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vmodl

from tests.backends import files, second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LabBackend
from tests.builders import CAPACITY
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import DirectoryImageStore, Instance
from vmops.errors import NotSupported
from vmops.lab.wire.failures import Failure, How
from vmops.model.image import DiskType

pytestmark = needs(Capability.LOCAL_FILES, Capability.UNTOUCHED_DISKS)
NO_EXPORT = Failure(call="ExportSnapshot", how=How.REFUSED, nth=0, fault=vmodl.fault.NotSupported())


@pytest.fixture(autouse=True)
def _no_export(bench: Bench) -> None:
    if isinstance(bench.backend, LabBackend):
        bench.backend.lab.failures.plan(NO_EXPORT)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryImageStore:
    return DirectoryImageStore(tmp_path / "made")


def with_a_disk(bench: Bench) -> Instance:
    """A running instance whose whole root disk has known bytes, also where disks begin empty."""
    instance = bench.spawn(linked_clone=False) if not is_simulated(bench) else bench.spawn()
    data(bench, instance).write_bytes(bench.images.disk)
    return instance


def is_simulated(bench: Bench) -> bool:
    return bench.backend.name == "vcsim"


def data(bench: Bench, instance: Instance) -> Path:
    """The file with the root disk's bytes."""
    descriptor = files.local(bench.root(), bench.root_disk(instance).backing.fileName)
    if is_simulated(bench):
        return descriptor.with_name(f"{descriptor.stem}-flat.vmdk")
    return files.flat_of(descriptor)


def left(bench: Bench, instance: Instance) -> tuple[Any, set[str]]:
    found = second_view.properties(bench.vm(instance), "snapshot").get("snapshot")
    names = [tree.name for tree in found.rootSnapshotList] if found else []
    return names, {path for path in bench.tree() if files.TEMPORARY in path}


def test_the_copy_becomes_the_image_and_is_deleted(
    bench: Bench, store: DirectoryImageStore
) -> None:
    instance = with_a_disk(bench)
    told: list[dict[str, str]] = []
    ops = bench.engine(images=store)
    made = ops.snapshot(None, instance, "made", lambda **words: told.append(words))
    assert (store.directory / "made.img").read_bytes() == bench.images.disk
    assert made.image.properties.disk_type is DiskType.PREALLOCATED
    assert made.image.capacity_bytes == CAPACITY
    assert [words["task_state"] for words in told] == ["image_pending_upload", "image_uploading"]
    assert bench.power(instance) == "poweredOn"
    assert left(bench, instance) == ([], set())


def test_a_store_that_refuses_leaves_neither_copy_nor_snapshot(
    bench: Bench, store: DirectoryImageStore
) -> None:
    instance = with_a_disk(bench)
    (store.directory / "made.img").mkdir(parents=True)  # no file can come to be here
    with pytest.raises(OSError, match=r"made\.img"):
        bench.engine(images=store).snapshot(None, instance, "made", lambda **_: None)
    assert left(bench, instance) == ([], set())
    assert store.list() == ()


def test_without_a_store_nothing_is_begun(bench: Bench) -> None:
    instance = bench.spawn()
    told: list[dict[str, str]] = []
    engine = bench.engine(images=None)
    with pytest.raises(NotSupported, match="No image store"):
        engine.snapshot(None, instance, "made", lambda **words: told.append(words))
    assert told == []
    assert left(bench, instance) == ([], set())
