"""Resize and live migration between two clusters of a vCenter, each with its pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.lab import LabBackend
from tests.builders import MEMORY_MIB, Images
from tests.contract.engine import Bench
from tests.contract.migrating import Told
from tests.contract.migrating import migrate as migrate_live
from vmops import Flavor, Instance
from vmops.errors import MigrationPreCheckFailed
from vmops.lab.objects.compute_resource import ClusterComputeResource
from vmops.lab.objects.environment_browser import EnvironmentBrowser
from vmops.lab.objects.resource_pool import ResourcePool

BIGGER = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB)


async def split(kernel: Any) -> None:
    """Take the second host out of the lab's cluster and into one of its own."""
    first = next(iter(kernel.registry.all(ClusterComputeResource)))
    host = first.hosts()[1]
    browser = EnvironmentBrowser(
        kernel,
        "envbrowser-domain-c900",
        compute_resource=vim.ClusterComputeResource("domain-c900"),
        browser=host.properties["datastoreBrowser"],
    )
    second = ClusterComputeResource(
        kernel,
        "domain-c900",
        name="cluster2",
        parent=first.properties["parent"],
        browser=browser.ref,
    )
    pool = ResourcePool(
        kernel, "resgroup-901", name="Resources", parent=second.ref, owner=second.ref
    )
    second.properties["resourcePool"] = pool.ref
    for obj in (browser, second, pool):
        kernel.add(obj)
    first.parent.add_child(second)
    kernel.update(first, {"host": [one for one in first.properties["host"] if one != host.ref]})
    kernel.update(host, {"parent": second.ref})
    kernel.update(
        second,
        {
            "host": [host.ref],
            "datastore": list(first.properties["datastore"]),
            "network": list(first.properties["network"]),
        },
    )


@pytest.fixture(scope="module")
def two() -> Iterator[LabBackend]:
    backend = LabBackend("lab")
    try:
        backend.lab.on_loop(split)
        yield backend
    finally:
        backend.close()


@pytest.fixture
def bench(two: LabBackend, images: Images) -> Iterator[Bench]:
    try:
        with two.connect() as session:
            session.inventory.wait_fresh()
            yield Bench(backend=two, session=session, images=images)
    finally:
        two.clean()


def place(bench: Bench, instance: Instance) -> tuple[str, str]:
    """The names of the cluster that its pool is of, and of its host."""
    found = second_view.properties(bench.vm(instance), "runtime.host", "resourcePool")
    owner = second_view.properties(found["resourcePool"], "owner")["owner"]
    return (
        second_view.properties(owner, "name")["name"],
        second_view.properties(found["runtime.host"], "name")["name"],
    )


HOME = ("cluster1", "esx1.lab.local")
AWAY = ("cluster2", "esx2.lab.local")


@pytest.mark.parametrize("dest", AWAY)
@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_a_resize_goes_to_another_cluster_and_its_pool(bench: Bench, way: str, dest: str) -> None:
    instance = bench.spawn()
    assert place(bench, instance) == HOME
    bench.ops.migrate_disk_and_power_off(None, instance, dest, BIGGER)
    bench.ops.finish_migration(None, None, instance, None, None, None, True)
    assert place(bench, instance) == AWAY
    assert bench.power(instance) == "poweredOn"
    if way == "confirm":
        bench.ops.confirm_migration(None, instance, None)
        assert place(bench, instance) == AWAY
    else:
        bench.ops.finish_revert_migration(instance, None)
        assert place(bench, instance) == HOME
    assert bench.power(instance) == "poweredOn"


def test_a_resize_to_the_cluster_where_it_is_stays(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.migrate_disk_and_power_off(None, instance, "cluster1", BIGGER)
    assert place(bench, instance) == HOME


def test_a_cluster_whose_only_host_is_out_of_service_is_refused(bench: Bench) -> None:
    instance = bench.spawn()
    host = second_view.named(bench.content, vim.HostSystem, AWAY[1])
    second_view.finished(host.EnterMaintenanceMode_Task(0))
    try:
        before = bench.world()
        with (
            bench.backend.connect() as session,
            pytest.raises(MigrationPreCheckFailed, match=r"esx2.lab.local is in maintenance"),
        ):
            ops = bench.engine(session=session)
            ops.migrate_disk_and_power_off(None, instance, "cluster2", BIGGER)
        assert bench.world() == before
    finally:
        second_view.finished(host.ExitMaintenanceMode_Task(0))


@pytest.mark.parametrize("block", [True, False], ids=["disks", "host"])
def test_a_live_migration_goes_to_the_other_clusters_pool(bench: Bench, block: bool) -> None:
    instance = bench.spawn()
    told = Told()
    migrate_live(bench, instance, AWAY[1], told, block_migration=block)
    assert told.counts() == (1, 0)
    assert place(bench, instance) == AWAY
    migrate_live(bench, instance, HOME[1], told, block_migration=block)
    assert place(bench, instance) == HOME
    assert bench.power(instance) == "poweredOn"
