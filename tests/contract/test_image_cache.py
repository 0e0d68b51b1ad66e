"""The image cache: filled once, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

import pytest

from tests.backends.capabilities import Capability
from tests.backends.files import TEMPORARY
from tests.builders import CAPACITY, WAYS, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import TransferFailed
from vmops.images.store import ImageStore
from vmops.model.image import Image

MANY = 20


class CountingStore:
    """A store that counts how often an image's bytes are asked for.

    ``short``: how many of them it holds back; ``slow``: how long each opening takes.
    """

    def __init__(self, store: ImageStore, *, short: int = 0, slow_s: float = 0.0) -> None:
        self._store = store
        self.opened = 0
        self.short = short
        self._slow_s = slow_s

    def list(self) -> tuple[Image, ...]:
        return self._store.list()

    def get(self, name_or_id: str) -> Image:
        return self._store.get(name_or_id)

    @contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        self.opened += 1
        time.sleep(self._slow_s)
        with self._store.open(image) as stream:
            yield io.BytesIO(stream.read()[: image.size_bytes - self.short])


def cached(bench: Bench) -> dict[str, int]:
    """The files of the cache, and its folders."""
    return {path: size for path, size in bench.tree().items() if bench.backend.cache_folder in path}


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize("way", WAYS)
def test_twenty_spawns_at_once_transfer_the_image_once(bench: Bench, way: str) -> None:
    store = CountingStore(bench.images.store, slow_s=0.2)
    ops = bench.engine(images=store)
    instances = [an_instance() for _ in range(MANY)]
    with ThreadPoolExecutor(MANY) as pool:
        list(
            pool.map(lambda one: bench.spawn(way, instance=one, ops=ops, power_on=False), instances)
        )
    assert store.opened == 1
    assert len(bench.vms()) == MANY
    assert set(bench.ops.list_instances()) == {one.uuid for one in instances}
    digests = {
        bench.disk_digest(bench.root_disk(one).backing.fileName, CAPACITY) for one in instances
    }
    assert digests == {bench.image_digest()}
    assert not [path for path in cached(bench) if TEMPORARY in path]


@needs(Capability.DISK_BYTES)
def test_engines_of_two_processes_and_a_lock_folder_transfer_once(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    locks = tmp_path_factory.mktemp("locks")
    store = CountingStore(bench.images.store, slow_s=0.2)
    engines = [bench.engine(images=store, cache_lock_dir=locks) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda ops: bench.spawn(ops=ops, power_on=False), engines))
    assert store.opened == 1
    assert len(bench.vms()) == 4


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize("way", WAYS)
def test_engines_that_know_nothing_of_each_other_agree_all_the_same(bench: Bench, way: str) -> None:
    """As on two machines: one entry is there in the end, whole, and no temporary one."""
    store = CountingStore(bench.images.store, slow_s=0.2)
    engines = [bench.engine(images=store) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        instances = list(pool.map(lambda ops: bench.spawn(way, ops=ops, power_on=False), engines))
    digests = {
        bench.disk_digest(bench.root_disk(one).backing.fileName, CAPACITY) for one in instances
    }
    assert digests == {bench.image_digest()}
    assert len({path.split("/")[1] for path in cached(bench) if "/" in path}) == 1
    assert len(bench.vms()) == 4


@needs(Capability.LOCAL_FILES)
def test_a_cached_image_is_not_transferred_again(bench: Bench) -> None:
    store = CountingStore(bench.images.store)
    ops = bench.engine(images=store)
    bench.spawn(ops=ops, power_on=False)
    before = cached(bench)
    bench.spawn(ops=ops, power_on=False)
    bench.spawn(ops=bench.engine(images=store), power_on=False)
    assert store.opened == 1
    assert cached(bench) == before


@needs(Capability.LOCAL_FILES, Capability.DISK_GROWTH)
def test_another_size_of_a_cached_image_is_made_on_the_datastore(bench: Bench) -> None:
    store = CountingStore(bench.images.store)
    ops = bench.engine(images=store)
    for gib in (0, 1, 2, 1):
        bench.spawn(ops=ops, instance=an_instance(root_gib=gib), power_on=False)
    assert store.opened == 1
    image = bench.images.store.get("flat")
    names = {path.rpartition("/")[2] for path in cached(bench) if path.endswith(".vmdk")}
    assert {f"{image.id}.vmdk", f"{image.id}.1.vmdk", f"{image.id}.2.vmdk"} <= names
    assert not [path for path in cached(bench) if TEMPORARY in path]


@needs(Capability.LOCAL_FILES, Capability.DISK_GROWTH)
def test_a_full_clone_makes_no_sized_parent(bench: Bench) -> None:
    bench.spawn(instance=an_instance(root_gib=1), linked_clone=False, power_on=False)
    image = bench.images.store.get("flat")
    assert not [path for path in cached(bench) if f"{image.id}.1" in path]


@needs(Capability.DISK_BYTES)
def test_an_interrupted_transfer_leaves_nothing_and_a_second_try_works(bench: Bench) -> None:
    for way in WAYS:
        before = bench.world()
        store = CountingStore(bench.images.store, short=bench.images.store.get(way).size_bytes // 2)
        ops = bench.engine(images=store)
        with pytest.raises(TransferFailed):
            bench.spawn(way, ops=ops)
        assert bench.vms() == before[0]
        assert set(bench.tree()) - set(before[1]) <= {
            f"[{bench.backend.datastore}] {bench.backend.cache_folder}"
        }
        store.short = 0
        instance = bench.spawn(way, ops=ops, power_on=False)
        disk = bench.root_disk(instance).backing.fileName
        assert bench.disk_digest(disk, CAPACITY) == bench.image_digest()


@needs(Capability.DISK_BYTES)
def test_what_others_wait_for_fails_for_one_and_works_for_the_next(bench: Bench) -> None:
    """The first transfer fails; the others take their turn, and one of them fills the cache."""

    class OnceShort(CountingStore):
        @contextmanager
        def open(self, image: Image) -> Iterator[BinaryIO]:
            self.short = image.size_bytes // 2 if self.opened == 0 else 0
            with super().open(image) as stream:
                yield stream

    store = OnceShort(bench.images.store, slow_s=0.2)
    ops = bench.engine(images=store)

    def spawn(_: int) -> str:
        try:
            return bench.spawn(ops=ops, power_on=False).uuid
        except TransferFailed:
            return "failed"

    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(spawn, range(5)))
    assert results.count("failed") == 1
    assert store.opened == 2
    assert len(bench.vms()) == 4


@needs(Capability.LOCAL_FILES)
def test_the_bytes_in_the_cache_are_those_of_the_image(bench: Bench) -> None:
    bench.spawn(power_on=False)
    image = bench.images.store.get("flat")
    flat = bench.root() / bench.backend.cache_folder / image.id / f"{image.id}-flat.vmdk"
    assert hashlib.sha256(flat.read_bytes()).hexdigest() == bench.image_digest()


@needs(Capability.LOCAL_FILES, Capability.LOGIN_FOR_FILES)
def test_an_upload_that_the_server_refuses_says_the_status(bench: Bench) -> None:
    before = bench.world()
    bench.control.refuse("PUT /folder", status=500)
    with pytest.raises(TransferFailed) as failed:
        bench.spawn()
    assert failed.value.status == 500
    assert "500" in str(failed.value)
    bench.control.allow_all()
    assert bench.vms() == before[0]
    assert not [path for path in cached(bench) if "/" in path]
