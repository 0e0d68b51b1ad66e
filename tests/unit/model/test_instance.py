"""Instances and flavors: what can never be built is refused when it is named."""

from typing import Any

import pytest

from vmops.errors import InstanceUnacceptable, InvalidName
from vmops.model.instance import Flavor, Instance, InstanceInfo, Vif
from vmops.model.power import InstanceState

UUID = "6F9619FF-8B86-D011-B42D-00CF4FC964FF"


def test_memory_that_is_no_multiple_of_four_is_refused() -> None:
    with pytest.raises(InstanceUnacceptable, match="multiple of 4"):
        Flavor(memory_mib=1026)


@pytest.mark.parametrize("wrong", [{"vcpus": 0}, {"memory_mib": 0}, {"root_gib": -1}])
def test_senseless_flavors_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InstanceUnacceptable):
        Flavor(**wrong)


def test_a_uuid_is_kept_in_lower_case() -> None:
    assert Instance(uuid=UUID, name="web1").uuid == UUID.lower()


@pytest.mark.parametrize("uuid", ["", "web1", UUID[:-1], "../../etc"])
def test_what_is_no_uuid_is_refused(uuid: str) -> None:
    with pytest.raises(InvalidName):
        Instance(uuid=uuid, name="web1")


@pytest.mark.parametrize("name", ["../web1", "a/b", "", "x" * 81, "a\nb"])
def test_names_that_vsphere_or_a_path_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        Instance(uuid=UUID, name=name)


@pytest.mark.parametrize("mac", ["00:11", "zz:11:22:33:44:55", "001122334455"])
def test_what_is_no_mac_address_is_refused(mac: str) -> None:
    with pytest.raises(InvalidName):
        Vif(network="net", mac_address=mac)


def test_info_has_the_keys_that_older_callers_know() -> None:
    info = InstanceInfo(
        state=InstanceState.RUNNING, max_mem_kib=8388608, mem_kib=8388608, num_cpu=4
    )
    assert info.as_dict() == {
        "state": 1, "max_mem": 8388608, "mem": 8388608, "num_cpu": 4, "cpu_time": 0,
    }  # fmt: skip
