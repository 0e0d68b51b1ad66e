"""Storage policies that only some datastores meet."""

from __future__ import annotations

import pytest

from tests.backends.capabilities import Capability
from tests.builders import MEMORY_MIB, a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import NoSuitableDatastore

POLICY, MET_BY = "Second Datastore", "datastore2"  # the lab's own


def wanted() -> dict[str, object]:
    flavor = {"vcpus": 1, "memory_mb": MEMORY_MIB, "extra_specs": {"vmware:storage_policy": POLICY}}
    return {"uuid": a_uuid(), "name": "vmops-test-placed", "flavor": flavor}


@needs(Capability.STORAGE_POLICIES, Capability.CONTROL)
def test_an_instance_goes_where_its_policy_is_met(bench: Bench) -> None:
    instance = wanted()
    bench.engine(datastore=None).spawn(None, instance, "flat", None, power_on=False)
    vm = bench.vm(str(instance["uuid"]))
    assert [each.name for each in vm.datastore] == [MET_BY]


@needs(Capability.STORAGE_POLICIES, Capability.CONTROL)
def test_a_datastore_that_does_not_meet_it_is_not_taken(bench: Bench) -> None:
    before = bench.world()
    with pytest.raises(NoSuitableDatastore):
        bench.engine(datastore="datastore1").spawn(None, wanted(), "flat", None)
    assert bench.world() == before
