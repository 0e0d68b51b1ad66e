"""Diagnostics: a flat mapping for programs, beside what pyVmomi reads of the same VM."""

from __future__ import annotations

import json

import pytest

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, in_state
from vmops import Vif
from vmops.errors import InstanceNotFound

COUNTED = ("vmware:uptimeSeconds", "vmware:guestMemoryUsage", "vmware:hostMemoryUsage")
PATHS = {
    "vmware:name": "summary.config.name",
    "vmware:memorySizeMB": "summary.config.memorySizeMB",
    "vmware:numCpu": "summary.config.numCpu",
    "vmware:numEthernetCards": "summary.config.numEthernetCards",
    "vmware:numVirtualDisks": "summary.config.numVirtualDisks",
    "vmware:instanceUuid": "summary.config.instanceUuid",
    "vmware:vmPathName": "summary.config.vmPathName",
    "vmware:powerState": "summary.runtime.powerState",
    "vmware:connectionState": "summary.runtime.connectionState",
}


@pytest.mark.parametrize("state", [OFF, ON])
def test_they_are_what_the_server_says(bench: Bench, state: str) -> None:
    vifs = [Vif(network=bench.backend.network)]
    instance = bench.spawn(instance=an_instance(vcpus=2), vifs=vifs, power_on=state == ON)
    found = bench.ops.get_diagnostics(instance)
    expected = second_view.properties(bench.vm(instance), *PATHS.values())
    assert {key: found.get(key) for key in PATHS} == {
        key: expected.get(path) for key, path in PATHS.items()
    }
    assert found["vmware:powerState"] == state
    assert found["vmware:memorySizeMB"] == 16


def test_they_are_flat_and_can_be_written_as_json(bench: Bench) -> None:
    found = bench.ops.get_diagnostics(in_state(bench, ON))
    assert all(key.startswith("vmware:") for key in found)
    assert all(isinstance(value, str | int | float | bool) for value in found.values())
    assert json.loads(json.dumps(found)) == found
    assert {type(value) for value in found.values()} <= {str, int, float, bool}


@pytest.mark.parametrize("key", COUNTED)
def test_a_running_instance_has_its_uptime_and_memory(bench: Bench, key: str) -> None:
    value = bench.ops.get_diagnostics(in_state(bench, ON)).get(key)
    assert isinstance(value, int)
    assert value >= 0


def test_they_name_the_host(bench: Bench) -> None:
    instance = in_state(bench, ON)
    host = second_view.properties(bench.vm(instance), "runtime.host")["runtime.host"]
    name = second_view.properties(host, "name")["name"]
    assert bench.ops.get_diagnostics(instance)["vmware:host"] == name


def test_an_unknown_instance(bench: Bench) -> None:
    with pytest.raises(InstanceNotFound):
        bench.ops.get_diagnostics(a_uuid())


@needs(Capability.COUNTED_CALLS)
def test_they_cost_one_call(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.get_diagnostics(instance)
    bench.backend.forget_calls()
    bench.ops.get_diagnostics(instance)
    assert bench.backend.calls() == {"RetrievePropertiesEx": 1}
