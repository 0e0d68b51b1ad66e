"""Spawn: what is there afterwards, and what is refused before anything is there."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Flavor, Instance, Vif
from vmops.errors import (
    ClusterNotFound,
    DatastoreNotFound,
    DuplicateName,
    ImageNotFound,
    InstanceExists,
    InstanceUnacceptable,
    Invalid,
    InvalidName,
    NetworkNotFound,
)


def test_an_instance_is_on_with_the_size_of_its_flavor(bench: Bench) -> None:
    instance = bench.spawn(instance=an_instance(vcpus=2))
    vm = bench.vm(instance)
    found = second_view.properties(
        vm, "name", "runtime.powerState", "config.hardware.numCPU", "config.hardware.memoryMB"
    )
    assert found == {
        "name": instance.name,
        "runtime.powerState": "poweredOn",
        "config.hardware.numCPU": 2,
        "config.hardware.memoryMB": instance.flavor.memory_mib,
    }


def test_its_uuid_is_in_the_configuration_and_in_extra_config(bench: Bench) -> None:
    instance = bench.spawn()
    vm = bench.vm(instance)
    assert second_view.properties(vm, "config.instanceUuid", "config.uuid") == {
        "config.instanceUuid": instance.uuid,
        "config.uuid": instance.uuid,
    }
    assert second_view.extra_config(vm)["nvp.vm-uuid"] == instance.uuid


def test_the_mark_of_the_spawn_is_gone_when_it_is_whole(bench: Bench) -> None:
    instance = bench.spawn()
    assert not second_view.extra_config(bench.vm(instance)).get("vmops.operation")


def test_its_files_lie_in_a_folder_named_by_its_uuid(bench: Bench) -> None:
    instance = bench.spawn()
    vmx = second_view.properties(bench.vm(instance), "config.files.vmPathName").popitem()[1]
    assert vmx.startswith(f"[{bench.backend.datastore}] {instance.uuid}/")


def test_it_can_be_left_off(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    assert bench.power(instance) == "poweredOff"


def test_keys_for_extra_config_are_added(bench: Bench) -> None:
    instance = bench.spawn(extra_config={"guestinfo.role": "web"})
    assert second_view.extra_config(bench.vm(instance))["guestinfo.role"] == "web"


def test_a_nova_shaped_instance_gets_a_name_that_is_unique(bench: Bench) -> None:
    uuid = a_uuid()
    instance = {
        "uuid": uuid,
        "display_name": "vmops-test web/1",
        "flavor": {"vcpus": 1, "memory_mb": 16, "root_gb": 0},
    }
    bench.ops.spawn(None, instance, {"id": "flat", "properties": {}}, None)
    name = second_view.properties(bench.vm(uuid), "name")["name"]
    assert name == f"vmops-test web_1 ({uuid})"


def test_a_second_spawn_of_one_uuid_is_refused_and_the_first_stays_as_it_is(bench: Bench) -> None:
    first = bench.spawn()
    before = bench.world()
    with pytest.raises(InstanceExists) as refused:
        bench.spawn(instance=an_instance(of=first.uuid, name="vmops-test-another"))
    assert refused.value.instance_uuid == first.uuid
    assert first.name in str(refused.value)
    assert bench.world() == before


@needs(Capability.UNIQUE_NAMES)
def test_a_second_instance_of_one_name_is_refused_and_leaves_nothing(bench: Bench) -> None:
    first = bench.spawn()
    before = bench.world()
    with pytest.raises(DuplicateName):
        bench.spawn(instance=an_instance(name=first.name))
    assert bench.world() == before


@pytest.mark.parametrize(
    ("memory_mib", "says"), [(1026, "multiple of 4"), (2, "multiple of 4"), (0, "multiple of 4")]
)
def test_memory_that_vsphere_cannot_have_is_refused(
    bench: Bench, memory_mib: int, says: str
) -> None:
    before = bench.world()
    with pytest.raises(InstanceUnacceptable, match=says):
        Instance(uuid=a_uuid(), name="x", flavor=Flavor(memory_mib=memory_mib))
    theirs = {"uuid": a_uuid(), "name": "x", "vcpus": 1, "memory_mb": memory_mib, "root_gb": 0}
    with pytest.raises(InstanceUnacceptable, match=says):
        bench.ops.spawn(None, theirs, "flat", None)
    assert bench.world() == before


def test_an_image_bigger_than_the_flavors_disk_is_refused_before_anything_is_there(
    bench: Bench,
) -> None:
    image = bench.images.store.get("flat")
    big = type(image)(
        id=image.id,
        name="big",
        size_bytes=image.size_bytes,
        capacity_bytes=1024**3 + CAPACITY,
        properties=image.properties,
    )
    before = bench.world()
    with pytest.raises(InstanceUnacceptable, match="2 GiB"):
        bench.ops.spawn(None, an_instance(root_gib=1), big, None)
    assert bench.world() == before
    assert ("spawn", "Create the VM") not in bench.steps()


def test_an_unknown_cluster_is_named_at_first_use(bench: Bench) -> None:
    before = bench.world()
    ops = bench.engine(cluster_name="cluster-not-there")
    with pytest.raises(ClusterNotFound) as refused:
        bench.spawn(ops=ops)
    assert refused.value.name == "cluster-not-there"
    assert bench.backend.cluster in refused.value.available
    assert bench.world() == before


def test_without_a_cluster_the_only_one_is_taken(bench: Bench) -> None:
    instance = bench.spawn(ops=bench.engine(cluster_name=None))
    assert bench.vm(instance) is not None


def test_an_unknown_network_is_named(bench: Bench) -> None:
    before = bench.world()
    with pytest.raises(NetworkNotFound) as refused:
        bench.spawn(vifs=[Vif(network="VM Networ")])
    assert refused.value.name == "VM Networ"
    assert bench.backend.network in refused.value.available
    assert bench.world() == before


def test_an_unknown_datastore_is_named(bench: Bench) -> None:
    before = bench.world()
    with pytest.raises(DatastoreNotFound) as refused:
        bench.spawn(ops=bench.engine(datastore="nowhere"))
    assert refused.value.name == "nowhere"
    assert bench.backend.datastore in refused.value.available
    assert bench.world() == before


def test_an_unknown_image_is_named(bench: Bench) -> None:
    before = bench.world()
    with pytest.raises(ImageNotFound) as refused:
        bench.spawn("no-such-image")
    assert refused.value.name == "no-such-image"
    assert refused.value.available
    assert bench.world() == before


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "a\nb", "x" * 81])
def test_names_that_could_leave_a_folder_are_refused(bench: Bench, name: str) -> None:
    with pytest.raises(InvalidName):
        Instance(uuid=a_uuid(), name=name)


@pytest.mark.parametrize(
    "uuid", ["../../etc", "", "7e57", "7e570000-0000-4000-8000-000000000000/.."]
)
def test_uuids_that_are_none_are_refused(bench: Bench, uuid: str) -> None:
    before = bench.world()
    theirs = {"uuid": uuid, "name": "x", "vcpus": 1, "memory_mb": 16, "root_gb": 0}
    with pytest.raises(InvalidName):
        bench.ops.spawn(None, theirs, "flat", None)
    assert bench.world() == before


def test_a_volume_without_a_connection_is_refused_rather_than_left_out(bench: Bench) -> None:
    before = bench.world()
    with pytest.raises(Invalid, match="no connection"):
        bench.spawn(block_device_info={"block_device_mapping": [{"mount_device": "/dev/vdb"}]})
    assert bench.world() == before


def test_the_constructor_makes_no_call(bench: Bench) -> None:
    before = bench.session.counts
    bench.engine(cluster_name="whatever")
    assert bench.session.counts == before


@needs(Capability.COUNTED_CALLS)
def test_every_call_of_a_spawn_carries_the_operations_id(bench: Bench) -> None:
    bench.spawn()  # the stream is there afterwards
    bench.backend.forget_calls()
    bench.spawn()
    lab = bench.control.lab
    ids = {
        operation
        for (method, operation) in lab.wire_log.calls()
        if method in {"CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "FindAllByUuid"}
    }
    assert len(ids) == 1
    assert ids.pop().startswith("vmops-spawn-")


def test_its_disk_is_on_a_controller_of_its_own(bench: Bench) -> None:
    instance = bench.spawn()
    disk = bench.root_disk(instance)
    (controller,) = second_view.devices(bench.vm(instance), vim.vm.device.VirtualSCSIController)
    assert (disk.controllerKey, disk.unitNumber) == (controller.key, 0)
