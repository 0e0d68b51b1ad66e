"""oslo.vmware, which Nova and Cinder use: suds over the generated WSDL. Some seconds a session."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    oslo = pytest.importorskip("oslo_vmware.api", reason="oslo.vmware is not installed")
    from oslo_vmware import exceptions, vim_util

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmops.lab import Lab

# One kind of server is enough here: suds takes seconds to read the description of either.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.parametrize("lab", [False], indirect=True, ids=["vcenter"], scope="module"),
]


@pytest.fixture(scope="module")
def session(lab: Lab, port: int) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = oslo.VMwareAPISession(
            "127.0.0.1",
            lab.username,
            lab.password,
            api_retry_count=2,
            task_poll_interval=0.02,
            port=port,
            cacert=str(lab.certificate_file),
        )
        yield made
        made.logout()


@pytest.fixture
def vm(session: Any) -> Iterator[Any]:
    create = session.vim.client.factory.create
    (datacenter,) = objects(session, "Datacenter", ["vmFolder"])
    folder = vim_util.propset_dict(datacenter.propSet)["vmFolder"]
    pool = objects(session, "ResourcePool", ["name"])[0].obj
    spec = create("ns0:VirtualMachineConfigSpec")
    spec.name = "suds"
    spec.guestId = "otherGuest64"
    spec.memoryMB = 64
    spec.files = create("ns0:VirtualMachineFileInfo")
    spec.files.vmPathName = "[datastore1]"
    task = session.invoke_api(session.vim, "CreateVM_Task", folder, config=spec, pool=pool)
    made = session.wait_for_task(task).result
    yield made
    if prop(session, made, "runtime.powerState") != "poweredOff":
        session.wait_for_task(session.invoke_api(session.vim, "PowerOffVM_Task", made))
    session.wait_for_task(session.invoke_api(session.vim, "Destroy_Task", made))


def objects(session: Any, kind: str, paths: list[str]) -> Any:
    result = session.invoke_api(vim_util, "get_objects", session.vim, kind, 100, paths)
    return result.objects


def prop(session: Any, ref: Any, path: str) -> Any:
    return session.invoke_api(vim_util, "get_object_property", session.vim, ref, path)


def test_objects_and_properties(session: Any, vm: Any) -> None:
    found = objects(session, "VirtualMachine", ["name", "config.hardware.memoryMB"])
    properties = vim_util.propset_dict(found[0].propSet)
    assert (properties["name"], properties["config.hardware.memoryMB"]) == ("suds", 64)
    assert vim_util.get_moref_value(found[0].obj) == vim_util.get_moref_value(vm)
    assert prop(session, vm, "runtime.powerState") == "poweredOff"


def test_a_kind_of_which_there_is_none(session: Any) -> None:
    assert not session.invoke_api(vim_util, "get_objects", session.vim, "VirtualApp", 100, ["name"])


def test_a_task_is_waited_for(session: Any, vm: Any) -> None:
    task = session.invoke_api(session.vim, "PowerOnVM_Task", vm)
    assert session.wait_for_task(task).state == "success"
    assert prop(session, vm, "runtime.powerState") == "poweredOn"


def test_a_tasks_fault_becomes_an_exception(session: Any, vm: Any) -> None:
    session.wait_for_task(session.invoke_api(session.vim, "PowerOnVM_Task", vm))
    task = session.invoke_api(session.vim, "PowerOnVM_Task", vm)
    with pytest.raises(exceptions.InvalidPowerStateException):
        session.wait_for_task(task)


def test_a_fault_at_once_becomes_an_exception(session: Any) -> None:
    nobody = vim_util.get_moref("vm-404", "VirtualMachine")
    with pytest.raises(exceptions.ManagedObjectNotFoundException):
        session.invoke_api(session.vim, "PowerOnVM_Task", nobody)


def test_reconfigure_with_devices_and_options(session: Any, vm: Any) -> None:
    create = session.vim.client.factory.create
    spec = create("ns0:VirtualMachineConfigSpec")
    option = create("ns0:OptionValue")
    option.key, option.value = "nvp.vm-uuid", "a <b> & c"
    spec.extraConfig = [option]
    change = create("ns0:VirtualDeviceConfigSpec")
    change.operation = "add"
    change.device = create("ns0:ParaVirtualSCSIController")
    change.device.key = -101
    change.device.busNumber = 0
    change.device.sharedBus = "noSharing"
    spec.deviceChange = [change]
    session.wait_for_task(session.invoke_api(session.vim, "ReconfigVM_Task", vm, spec=spec))
    assert prop(session, vm, 'config.extraConfig["nvp.vm-uuid"]').value == "a <b> & c"
    devices = prop(session, vm, "config.hardware.device").VirtualDevice
    assert "ParaVirtualSCSIController" in {type(each).__name__ for each in devices}


def test_an_ended_session_is_opened_again(session: Any, lab: Lab) -> None:
    before = session._session_id

    async def end_all(kernel: Any) -> None:
        for manager in kernel.registry.of_wire_type(_session_manager()):
            manager.end_all()

    lab.on_loop(end_all)
    assert objects(session, "Datacenter", ["name"])
    assert session._session_id != before


def _session_manager() -> type:
    from pyVmomi import vim  # noqa: PLC0415  beside oslo's module of the same name

    return vim.SessionManager


def test_wrong_password(lab: Lab, port: int) -> None:
    with pytest.raises(exceptions.VimFaultException) as raised:
        oslo.VMwareAPISession(
            "127.0.0.1",
            lab.username,
            "wrong",
            api_retry_count=1,
            task_poll_interval=0.02,
            port=port,
            cacert=str(lab.certificate_file),
        )
    assert raised.value.fault_list == ["InvalidLogin"]
