"""Where an instance goes: which datastore is taken, and what is said of those that are not."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import EngineSettings, Instance
from vmops.errors import NoSuitableDatastore, NoSuitableHost
from vmops.ops.engine.placement import Compliance, pick_datastore
from vmops.vsphere.managers.storage_policies import StoragePolicy

GIB = 1024**3
pytestmark = needs(Capability.CONTROL, Capability.TWO_DATASTORES)


def home(bench: Bench, instance: Instance) -> str:
    (datastore,) = second_view.properties(bench.vm(instance), "datastore")["datastore"]
    return str(second_view.properties(datastore, "name")["name"])


def spawn(bench: Bench, **settings: object) -> str:
    """The datastore of an instance for which none is asked for by name."""
    ops = bench.engine(datastore=None, **settings)
    return home(bench, bench.spawn(ops=ops, power_on=False))


def change(bench: Bench, name: str, **summary: object) -> None:
    bench.control.change_datastore(name, **summary)


def hear(bench: Bench) -> None:
    """Have a session that has heard of all changes: one that loads its inventory now."""
    bench.session.close()
    bench.session = bench.backend.connect()


@pytest.fixture(autouse=True)
def _fresh_session(bench: Bench) -> Iterator[None]:
    shared = bench.session
    bench.session = bench.backend.connect()
    try:
        yield
    finally:
        bench.session.close()
        bench.session = shared


def test_the_one_with_most_free_space_is_taken(bench: Bench) -> None:
    change(bench, "datastore1", freeSpace=10 * GIB)
    change(bench, "datastore2", freeSpace=20 * GIB)
    assert spawn(bench) == "datastore2"


def test_a_change_is_heard_by_a_session_that_runs(bench: Bench) -> None:
    change(bench, "datastore1", freeSpace=10 * GIB)
    change(bench, "datastore2", freeSpace=20 * GIB)
    assert spawn(bench) == "datastore2"
    change(bench, "datastore2", freeSpace=5 * GIB)
    inventory = bench.session.inventory
    end = time.monotonic() + 5
    while inventory.datastore("datastore2").free_bytes != 5 * GIB:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert spawn(bench) == "datastore1"


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ({"accessible": False}, "not accessible"),
        ({"maintenanceMode": "inMaintenance"}, "maintenance"),
        ({"maintenanceMode": "enteringMaintenance"}, "maintenance"),
        ({"type": "vsan"}, "type vsan"),
        ({"type": "VFFS"}, "type VFFS"),
        ({"freeSpace": 1024}, "free"),
    ],
)
def test_one_that_cannot_be_used_is_passed_over_with_a_reason(
    bench: Bench, summary: dict[str, object], reason: str
) -> None:
    change(bench, "datastore1", **({"freeSpace": 100 * GIB} | summary))
    change(bench, "datastore2", freeSpace=1 * GIB)
    assert spawn(bench) == "datastore2"
    change(bench, "datastore2", accessible=False)
    hear(bench)
    before = bench.vms()
    with pytest.raises(NoSuitableDatastore) as refused:
        spawn(bench)
    reasons = dict(refused.value.rejected)
    assert reason in reasons["datastore1"]
    assert "not accessible" in reasons["datastore2"]
    assert reasons["datastore1"] in str(refused.value)
    assert bench.vms() == before


@pytest.mark.parametrize("kind", ["VMFS", "NFS", "NFS41"])
def test_usable_types(bench: Bench, kind: str) -> None:
    change(bench, "datastore1", freeSpace=100 * GIB, type=kind)
    change(bench, "datastore2", freeSpace=1 * GIB)
    assert spawn(bench) == "datastore1"


def test_only_names_that_match_whole_are_taken(bench: Bench) -> None:
    change(bench, "datastore1", freeSpace=100 * GIB)
    change(bench, "datastore2", freeSpace=1 * GIB)
    assert spawn(bench, datastore_regex=re.compile(r".*2")) == "datastore2"
    with pytest.raises(NoSuitableDatastore, match="does not match"):
        spawn(bench, datastore_regex=re.compile(r"datastore"))


def test_only_those_that_comply_with_the_policy_are_taken(bench: Bench) -> None:
    """Which comply the server says; here it is said for it."""
    change(bench, "datastore1", freeSpace=100 * GIB)
    change(bench, "datastore2", freeSpace=1 * GIB)
    inventory = bench.session.inventory
    gold = StoragePolicy(id="p-1", name="Gold")

    def pick(*complying: str) -> str:
        moids = frozenset(inventory.datastore(name).moid for name in complying)
        return pick_datastore(
            inventory,
            inventory.cluster(bench.backend.cluster),
            EngineSettings(),
            1,
            Counter(),
            Compliance(policy=gold, datastores=moids),
        ).name

    assert pick("datastore1", "datastore2") == "datastore1"
    assert pick("datastore2") == "datastore2"
    with pytest.raises(NoSuitableDatastore) as refused:
        pick()
    assert all("'Gold'" in reason for _, reason in refused.value.rejected)
    assert len(refused.value.rejected) == 2


def test_hosts_in_maintenance_are_named_when_none_is_left(bench: Bench) -> None:
    hosts = second_view.every(bench.content, vim.HostSystem, "name")
    before = bench.vms()
    for host in hosts:
        second_view.finished(host.EnterMaintenanceMode_Task(timeout=0))
    try:
        hear(bench)
        with pytest.raises(NoSuitableHost) as refused:
            spawn(bench)
    finally:
        for host in hosts:
            second_view.finished(host.ExitMaintenanceMode_Task(timeout=0))
    assert "esx1.lab.local is in maintenance" in str(refused.value)
    assert bench.vms() == before


def test_a_host_in_maintenance_is_passed_over(bench: Bench) -> None:
    host = second_view.named(bench.content, vim.HostSystem, "esx1.lab.local")
    second_view.finished(host.EnterMaintenanceMode_Task(timeout=0))
    try:
        instance = bench.spawn()
        runs_on = second_view.properties(bench.vm(instance), "runtime.host")["runtime.host"]
    finally:
        second_view.finished(host.ExitMaintenanceMode_Task(timeout=0))
    assert runs_on != host
