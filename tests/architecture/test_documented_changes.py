"""The numbered steps of operations that change an instance are the steps that run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.test_documented_steps import documented
from tests.backends.lab import LabBackend
from tests.builders import MEMORY_MIB, Images, an_image_store, an_instance
from tests.contract.engine import Bench
from tests.contract.migrating import Told, migrate, other_host
from vmops import DirectoryImageStore, Flavor, Instance
from vmops.ops.instances.live_migration import live_migration
from vmops.ops.instances.rescue import rescue, unrescue
from vmops.ops.instances.snapshot import snapshot
from vmops.ops.resize.begin import migrate_disk_and_power_off
from vmops.ops.resize.confirm import confirm_migration
from vmops.ops.resize.finish import finish_migration
from vmops.ops.resize.revert import finish_revert_migration

BIGGER = Flavor(vcpus=2, memory_mib=MEMORY_MIB, root_gib=1, ephemeral_gib=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    images: Images = an_image_store(tmp_path_factory.mktemp("store") / "images")
    backend = LabBackend("lab")
    try:
        with backend.connect() as session:
            yield Bench(backend=backend, session=session, images=images)
    finally:
        backend.close()


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    yield shared
    shared.backend.clean()


def ran(bench: Bench, operation: str) -> list[str]:
    """The titles of an operation's steps since this was last asked."""
    found = [title for name, title in bench.steps() if name == operation]
    bench.events.clear()
    return found


def steps(function: Any, *without: str) -> list[str]:
    return [title for title in documented(function.__doc__ or "").main if title not in without]


def test_rescue_and_unrescue(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.rescue(None, instance, None, "flat")
    assert ran(bench, "rescue") == steps(rescue)
    bench.ops.unrescue(instance)
    died = "Delete what is left of the rescue disk", "Forget the rescue"
    assert ran(bench, "unrescue") == steps(unrescue, *died)


@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_resize(bench: Bench, way: str) -> None:
    instance = bench.spawn(linked_clone=False)
    bench.ops.migrate_disk_and_power_off(None, instance, "datastore2", BIGGER)
    assert ran(bench, "resize") == steps(migrate_disk_and_power_off)
    bench.ops.finish_migration(None, None, instance, None, None, None, True)
    assert ran(bench, "finish resize") == steps(finish_migration)
    if way == "confirm":
        bench.ops.confirm_migration(None, instance, None)
        assert ran(bench, "confirm resize") == steps(confirm_migration)
    else:
        bench.ops.finish_revert_migration(instance, None)
        left = "Delete what is left of the grown disk"
        assert ran(bench, "revert resize") == steps(finish_revert_migration, left)


def test_snapshot(bench: Bench, tmp_path: Path) -> None:
    instance = bench.spawn()
    store = DirectoryImageStore(tmp_path / "made")
    bench.engine(images=store).snapshot(None, instance, "made", lambda **_: None)
    assert ran(bench, "snapshot") == steps(snapshot)


def test_live_migration(bench: Bench) -> None:
    """The second move leaves behind what the first one took along."""
    instance: Instance = bench.spawn(instance=an_instance())
    for _ in range(2):
        bench.events.clear()
        dest = other_host(bench, instance)
        migrate(bench, instance, dest, Told(), block_migration=True)
    assert ran(bench, "live_migration") == steps(live_migration)
