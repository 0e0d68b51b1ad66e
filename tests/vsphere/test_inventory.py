from __future__ import annotations

import threading

import pytest
from pyVmomi import vim, vmodl

from tests.vsphere.conftest import MakeVm, Place, end_session, eventually
from tests.vsphere.interposer import Interposer
from vmops.errors import ClusterNotFound, DatastoreNotFound, InvalidArgument, ManagedObjectNotFound
from vmops.vsphere.live.inventory import Inventory
from vmops.vsphere.live.kinds import KINDS
from vmops.vsphere.live.stream import STREAM_METHODS, Stream
from vmops.vsphere.session import Session

Collector = vmodl.query.PropertyCollector


def test_knows_the_whole_of_an_endpoint(session: Session) -> None:
    inventory = session.inventory
    (datacenter,) = inventory.datacenters()
    assert datacenter.inventory_path == datacenter.name == "DC0"
    cluster = inventory.cluster()
    assert cluster.is_cluster
    assert cluster.datacenter == datacenter.moid
    hosts = {host.moid: host for host in inventory.hosts()}
    assert set(cluster.hosts) <= hosts.keys()
    assert all(host.connected and not host.in_maintenance for host in hosts.values())
    assert {hosts[name].cluster for name in cluster.hosts} == {cluster.moid}
    assert {d.moid for d in inventory.datastores()} >= set(cluster.datastores)
    assert all(
        d.accessible and d.capacity_bytes >= d.free_bytes > 0 for d in inventory.datastores()
    )
    kinds = {network.kind for network in inventory.networks()}
    assert kinds == {"standard", "distributed"}
    group = next(n for n in inventory.networks() if n.kind == "distributed" and not n.is_uplink)
    assert group.portgroup_key
    assert group.switch_uuid


def test_agrees_with_what_the_property_collector_reads(session: Session) -> None:
    read = session.properties.read_container(
        "Datastore", ("name", "summary.capacity", "summary.type")
    )
    assert {d.moid: (d.name, d.capacity_bytes, d.type) for d in session.inventory.datastores()} == {
        name: (v["name"], v["summary.capacity"], v["summary.type"]) for name, v in read.items()
    }


def test_names_those_there_are_where_one_is_not_found(session: Session) -> None:
    inventory = session.inventory
    with pytest.raises(ClusterNotFound, match=inventory.cluster().name):
        inventory.cluster("nope")
    with pytest.raises(DatastoreNotFound, match=inventory.datastores()[0].name):
        inventory.datastore("nope")
    with pytest.raises(ManagedObjectNotFound):
        inventory.datacenter("datacenter-none")


def test_costs_no_call_once_it_is_loaded(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        vm, instance_uuid = make_vm(session)
        eventually(lambda: session.inventory.vm(vm.moid))
        before = session.counts
        for _ in range(1000):
            session.inventory.vm_by_uuid(instance_uuid)
            session.inventory.clusters()
        used = session.counts - before
        assert {method: n for method, n in used.items() if method not in STREAM_METHODS} == {}


def test_loading_is_the_streams_work_alone(lab: Place) -> None:
    with lab.connect() as session:
        before = session.counts
        session.inventory.clusters()
        assert {
            method for method in session.counts - before if method not in STREAM_METHODS
        } == set()


def test_hears_of_what_another_session_does(
    place: Place, session: Session, make_vm: MakeVm
) -> None:
    with place.connect() as other:
        session.inventory.wait_fresh()
        vm, instance_uuid = make_vm(other)
        known = eventually(lambda: session.inventory.vm_by_uuid(instance_uuid))
        assert (known.moid, known.num_cpu, known.memory_mib) == (vm.moid, 1, 64)
        assert known.power_state == "poweredOff"
        vm.power_on()
        eventually(
            lambda: (now := session.inventory.vm(vm.moid)) and now.power_state == "poweredOn"
        )
        vm.power_off()
        vm.destroy()
        eventually(lambda: session.inventory.vm_by_uuid(instance_uuid) is None)


def test_shows_what_a_task_did_when_the_task_is_known_to_have_ended(
    lab: Place, make_vm: MakeVm
) -> None:
    with lab.connect() as session:
        vm, _ = make_vm(session)
        for _ in range(5):
            vm.power_on()
            assert vm.known_power_state() == "poweredOn"
            vm.power_off()
            assert vm.known_power_state() == "poweredOff"


def test_tells_managed_machines_by_their_mark(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        mark = [vim.option.OptionValue(key="nvp.vm-uuid", value="1")]
        ours, _ = make_vm(session, extraConfig=mark)
        foreign, _ = make_vm(session)
        assert eventually(lambda: session.inventory.vm(ours.moid)).managed
        assert not eventually(lambda: session.inventory.vm(foreign.moid)).managed


def test_is_loaded_anew_after_a_lost_connection(
    disturbed: Session, between: Interposer, lab: Place, make_vm: MakeVm
) -> None:
    disturbed.inventory.wait_fresh()
    between.refuse()
    eventually(lambda: not disturbed.inventory.is_loaded)
    with lab.connect() as other:
        vm, instance_uuid = make_vm(other)
        between.resume()
        # Nothing that was known before the loss is told after it.
        found = disturbed.inventory.vm_by_uuid(instance_uuid)
        assert found
        assert found.moid == vm.moid
        vm.destroy()
        eventually(lambda: disturbed.inventory.vm_by_uuid(instance_uuid) is None)


def test_is_loaded_anew_after_the_session_expired(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session, lab.connect() as admin:
        session.inventory.wait_fresh()
        end_session(session, admin)
        _, instance_uuid = make_vm(admin)
        eventually(lambda: session.inventory.vm_by_uuid(instance_uuid))
        assert session.client.logins == 2


def test_is_loaded_once_for_many_threads(lab: Place) -> None:
    with lab.connect() as session:
        threads = [threading.Thread(target=session.inventory.clusters) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert session.counts["CreatePropertyCollector"] == 1


def enters(obj: vim.ManagedEntity, **values: object) -> Collector.ObjectUpdate:
    changes = [Collector.Change(name=name, op="assign", val=val) for name, val in values.items()]
    return Collector.ObjectUpdate(obj=obj, kind="enter", changeSet=changes)


def test_two_datastores_of_one_name_are_told_apart(lab: Place) -> None:
    with lab.connect() as session:
        inventory = Inventory(Stream(session.client))
    inventory.loaded()
    inventory._filters = {kind.wire_type: kind for kind in KINDS}
    one, two = vim.Datacenter("datacenter-1"), vim.Datacenter("datacenter-2")
    inventory.apply("Datacenter", [enters(one, name="A"), enters(two, name="B")])
    inventory.apply(
        "Datastore",
        [
            enters(vim.Datastore("datastore-1"), name="ds", parent=one),
            enters(vim.Datastore("datastore-2"), name="ds", parent=two),
        ],
    )
    with pytest.raises(InvalidArgument, match="several datacenters"):
        inventory.datastore("ds")
    assert inventory.datastore("ds", "datacenter-2").moid == "datastore-2"
