"""pyVmomi as its users use it: SmartConnect, lazy properties, WaitForTask."""

from __future__ import annotations

import gc
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmops.lab import Lab


@pytest.fixture(scope="module")
def service(lab: Lab, port: int) -> Iterator[Any]:
    context = ssl.create_default_context(cafile=str(lab.certificate_file))
    connected = SmartConnect(
        host="127.0.0.1", port=port, user=lab.username, pwd=lab.password, sslContext=context
    )
    yield connected
    Disconnect(connected)


@pytest.fixture(scope="module")
def content(service: Any) -> Any:
    return service.RetrieveContent()


@pytest.fixture
def vm(content: Any) -> Iterator[Any]:
    datacenter = content.rootFolder.childEntity[0]
    pool = datacenter.hostFolder.childEntity[0].resourcePool
    controller = vim.vm.device.VirtualDeviceSpec(
        operation="add",
        device=vim.vm.device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing"),
    )
    disk = vim.vm.device.VirtualDeviceSpec(
        operation="add",
        fileOperation="create",
        device=vim.vm.device.VirtualDisk(
            key=-2,
            controllerKey=-1,
            unitNumber=0,
            capacityInKB=1024,
            backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                fileName="", diskMode="persistent", thinProvisioned=True
            ),
        ),
    )
    spec = vim.vm.ConfigSpec(
        name="interop",
        guestId="otherGuest64",
        numCPUs=2,
        memoryMB=64,
        files=vim.vm.FileInfo(vmPathName="[datastore1]"),
        deviceChange=[controller, disk],
        extraConfig=[vim.option.OptionValue(key="a", value="<&>")],
    )
    task = datacenter.vmFolder.CreateVm(spec, pool)
    WaitForTask(task)
    made = task.info.result
    yield made
    if made.runtime.powerState != "poweredOff":
        WaitForTask(made.PowerOff())
    WaitForTask(made.Destroy())


def test_the_version_is_agreed_on(service: Any) -> None:
    assert service._stub.version == "vim.version.v8_0_3_0"


@pytest.mark.filterwarnings("ignore")
def test_wrong_password(lab: Lab, port: int) -> None:
    context = ssl.create_default_context(cafile=str(lab.certificate_file))
    with pytest.raises(vim.fault.InvalidLogin):
        SmartConnect(
            host="127.0.0.1", port=port, user=lab.username, pwd="wrong", sslContext=context
        )
    gc.collect()  # pyVmomi leaves the connection of a failed login to the collector


def test_a_pinned_certificate(lab: Lab, port: int) -> None:
    connected = SmartConnect(
        host="127.0.0.1",
        port=port,
        user=lab.username,
        pwd=lab.password,
        thumbprint=lab.thumbprint,
        disableSslCertValidation=True,
    )
    connected.CurrentTime()
    Disconnect(connected)


def test_every_property_of_every_object_can_be_read(content: Any, vm: Any) -> None:
    collector = vmodl.query.PropertyCollector
    view = content.viewManager.CreateContainerView(content.rootFolder, [], True)
    step = collector.TraversalSpec(name="view", type=type(view), path="view", skip=False)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[step])],
        propSet=[collector.PropertySpec(type=vim.ManagedEntity, all=True)],
    )
    contents = content.propertyCollector.RetrieveContents([spec])
    view.Destroy()
    assert vm._moId in {each.obj._moId for each in contents}
    for each in contents:
        required = {info.name for info in each.obj._GetPropertyList() if info.flags == 0}
        assert required - {"name"} <= {found.name for found in each.propSet} | {
            info for info in required if _may_be_empty(each.obj, info)
        }, each.obj
        assert not each.missingSet


def _may_be_empty(ref: Any, name: str) -> bool:
    return issubclass(ref._GetPropertyInfo(name).type, list)


def test_a_machines_life(vm: Any) -> None:
    assert vm.name == "interop"
    assert vm.config.hardware.numCPU == 2
    assert vm.runtime.powerState == "poweredOff"
    WaitForTask(vm.PowerOn())
    assert vm.runtime.powerState == "poweredOn"
    with pytest.raises(vim.fault.InvalidPowerState):
        WaitForTask(vm.PowerOn())
    WaitForTask(vm.PowerOff())
    option = vim.option.OptionValue(key="b", value="2")
    WaitForTask(vm.Reconfigure(vim.vm.ConfigSpec(memoryMB=128, extraConfig=[option])))
    assert vm.summary.config.memorySizeMB == 128
    assert {each.key: each.value for each in vm.config.extraConfig}["b"] == "2"


def test_snapshots(vm: Any) -> None:
    WaitForTask(vm.CreateSnapshot("one", "first", False, False))
    assert vm.snapshot.rootSnapshotList[0].name == "one"
    WaitForTask(vm.RemoveAllSnapshots())
    assert vm.snapshot is None


def test_search_and_browse(content: Any, vm: Any) -> None:
    found = content.searchIndex.FindByUuid(None, vm.config.instanceUuid, True, True)
    assert found == vm
    datastore = vm.datastore[0]
    task = datastore.browser.SearchSubFolders(f"[{datastore.name}]", None)
    WaitForTask(task)
    names = {file.path for folder in task.info.result for file in folder.file}
    assert "interop.vmx" in names


def test_a_task_says_everything(vm: Any) -> None:
    task = vm.PowerOn()
    WaitForTask(task)
    info = task.info
    assert info.entity == vm
    assert info.name.info.wsdlName == "PowerOnVM_Task"
    assert info.completeTime >= info.startTime >= info.queueTime
