"""What a plan holds, how it shows data, and what a session that plans ever sends."""

from __future__ import annotations

import json

import pytest
from pyVmomi import VmomiSupport, vim

from vmops.context import operation
from vmops.model.datastore_path import DatastorePath
from vmops.progress import StepFailed, StepFinished, StepStarted
from vmops.vsphere.planning.client import is_sent
from vmops.vsphere.planning.effects import EFFECTS
from vmops.vsphere.planning.files import PlannedFiles
from vmops.vsphere.planning.plain_data import plain, plain_arguments
from vmops.vsphere.planning.plan import Plan, PlanEnds, PlannedCall
from vmops.vsphere.planning.world import World
from vmops.vsphere.wire.stub import wire_method


def call(name: str) -> PlannedCall:
    return PlannedCall(method=name, target="VirtualMachine:vm-1")


def begin(plan: Plan, title: str) -> None:
    plan(StepStarted(operation="o", title=title))


def finish(plan: Plan, title: str) -> None:
    plan(StepFinished(operation="o", title=title, seconds=0.0))


def shown(plan: Plan) -> list[tuple[str, str, list[str]]]:
    return [
        (step.number, step.title, [each.method for each in step.calls])
        for part in plan.parts
        for step in part.steps
    ]


def test_calls_stand_below_their_steps_in_order() -> None:
    plan = Plan()
    plan.begin("spawn web1")
    begin(plan, "Look")
    finish(plan, "Look")
    begin(plan, "Fill")
    plan.record(call("A"))
    begin(plan, "Upload")
    plan.record(call("B"))
    finish(plan, "Upload")
    plan.record(call("C"))
    finish(plan, "Fill")
    plan.begin("destroy web1")
    begin(plan, "Remove")
    plan.record(call("D"))
    plan(StepFailed(operation="o", title="Remove", seconds=0.0, error=ValueError()))
    assert shown(plan) == [
        ("1", "Look", []),
        ("2", "Fill", ["A"]),
        ("2.1", "Upload", ["B"]),
        ("2", "Fill", ["C"]),
        ("1", "Remove", ["D"]),
    ]
    assert [each.method for each in plan.calls()] == ["A", "B", "C", "D"]


def test_calls_outside_of_steps_get_one_of_the_operation() -> None:
    plan = Plan()
    with operation("power_on"):
        plan.record(call("A"))
        plan.record(call("B"))
    with operation("suspend"):
        plan.record(call("C"))
    assert shown(plan) == [("1", "Power on", ["A", "B"]), ("2", "Suspend", ["C"])]


def test_after_its_end_a_plan_takes_nothing() -> None:
    world = World()
    world.plan.record(call("A"))
    with pytest.raises(PlanEnds):
        world.give_up("what only the server knows")
    world.plan.record(call("an undo"))
    begin(world.plan, "Undo")
    world.give_up("anything")
    assert [each.method for each in world.plan.calls()] == ["A"]
    (note,) = world.plan.parts[0].notes
    assert "what only the server knows" in note


def test_data_objects_are_what_is_set_in_them() -> None:
    spec = vim.vm.ConfigSpec(
        name="web1",
        numCPUs=2,
        extraConfig=[
            vim.option.OptionValue(key="nvp.vm-uuid", value="7e57"),
            vim.option.OptionValue(key="vmops.rescue", value=""),
        ],
        deviceChange=[
            vim.vm.device.VirtualDeviceSpec(
                operation="add",
                device=vim.vm.device.VirtualDisk(
                    key=-1,
                    capacityInKB=5,
                    backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                        fileName="[ds] a.vmdk", diskMode="persistent", thinProvisioned=False
                    ),
                ),
            )
        ],
    )
    data = plain_arguments(wire_method(vim.VirtualMachine, "ReconfigVM_Task"), {"spec": spec})
    assert json.loads(json.dumps(data)) == {
        "spec": {
            "name": "web1",
            "numCPUs": 2,
            "extraConfig": {"nvp.vm-uuid": "7e57", "vmops.rescue": ""},
            "deviceChange": [
                {
                    "operation": "add",
                    "device": {
                        "type": "VirtualDisk",
                        "key": -1,
                        "capacityInKB": 5,
                        "backing": {
                            "type": "VirtualDiskFlatVer2BackingInfo",
                            "fileName": "[ds] a.vmdk",
                            "diskMode": "persistent",
                            "thinProvisioned": False,
                        },
                    },
                }
            ],
        }
    }
    assert plain(vim.VirtualMachine("vm-12")) == "VirtualMachine:vm-12"


@pytest.mark.parametrize(
    "key",
    ["RemoteDisplay.vnc.password", "guestinfo.userdata", "my.API_TOKEN", "RemoteDisplay.vnc.key"],
)
def test_secrets_are_not_shown(key: str) -> None:
    options = [vim.option.OptionValue(key=key, value="hunter2")]
    assert plain(options) == {key: "***"}
    login = wire_method(vim.SessionManager, "Login")
    assert plain_arguments(login, {"userName": "root", "password": "hunter2"}) == {
        "userName": "root",
        "password": "***",
    }


def path(text: str) -> DatastorePath:
    return DatastorePath.parse(text)


def test_files_come_move_and_go() -> None:
    files = PlannedFiles()
    there = path("[ds] there/a")
    assert files.look(there) == there
    files.made(path("[ds] cache/tmp"))
    files.made(path("[ds] cache/tmp/a.vmdk"))
    assert files.look(path("[ds] cache/tmp")) is True
    assert files.look(path("[ds] cache")) is True
    files.moved(path("[ds] cache/tmp"), path("[ds] cache/image"))
    assert files.look(path("[ds] cache/image/a.vmdk")) is True
    assert files.look(path("[ds] cache/tmp/a.vmdk")) is False
    assert files.made_in(path("[ds] cache")) == ["image"]
    files.moved(path("[ds] there"), path("[ds] here"))
    assert files.look(path("[ds] here/a")) == there
    assert files.look(there) is False
    files.gone(path("[ds] cache"))
    assert files.look(path("[ds] cache/image/a.vmdk")) is False
    files.made(path("[ds] cache/again"))
    assert files.look(path("[ds] cache/again")) is True
    assert files.look(path("[ds] cache/image")) is False
    files.gone(path("[ds] cache/again"))
    assert files.look(path("[ds] cache")) is False


def test_a_part_of_what_is_read_as_a_whole_ends_the_plan() -> None:
    world = World()
    world.change(vim.VirtualMachine("vm-1"), {"runtime.powerState": "poweredOn"})
    read = {"name": "web1"}
    assert world.laid_over("vm-1", ["name"], read) == read
    with pytest.raises(PlanEnds):
        world.laid_over("vm-1", ["runtime"], {"runtime": object()})


def wire_methods() -> dict[str, bool]:
    """All methods of the API by name, and whether they start a task."""
    found: dict[str, bool] = {}
    for name in list(VmomiSupport._managedDefMap):
        for info in VmomiSupport.GetVmodlType(name)._GetMethodList():
            found[info.wsdlName] = found.get(info.wsdlName, False) or bool(info.isTask)
    return found


def test_nothing_is_sent_but_reads_and_what_is_the_sessions_own() -> None:
    methods = wire_methods()
    assert len(methods) > 1000
    sent = {name for name in methods if is_sent(name)}
    looking = ("Find", "Query", "Retrieve", "PbmCheck", "PbmQuery", "PbmRetrieve")
    others = {name for name in sent if not name.startswith(looking)}
    assert others == {
        "CancelRetrievePropertiesEx",
        "CancelWaitForUpdates",
        "ContinueRetrievePropertiesEx",
        "CreateContainerView",
        "CreateFilter",
        "CreateListView",
        "CreatePropertyCollector",
        "CurrentTime",
        "DestroyPropertyCollector",
        "DestroyPropertyFilter",
        "DestroyView",
        "HostListVStorageObject",
        "HostRetrieveVStorageObject",
        "HttpNfcLeaseGetManifest",
        "ListVStorageObject",
        "ModifyListView",
        "SearchDatastoreSubFolders_Task",
        "SearchDatastore_Task",
        "SessionIsActive",
        "WaitForUpdatesEx",
    }
    assert {name for name in sent if methods[name]} == {
        "SearchDatastoreSubFolders_Task",
        "SearchDatastore_Task",
    }
    assert not is_sent("SomethingThatNobodyKnows")


def test_every_effect_is_of_a_method_that_is_not_sent() -> None:
    assert {name for name in EFFECTS if name not in wire_methods() or is_sent(name)} == set()
