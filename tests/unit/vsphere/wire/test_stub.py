from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import VmomiSupport, vim, vmodl

from vmops.errors import VsphereFault
from vmops.vsphere.wire.address import ServerAddress
from vmops.vsphere.wire.limits import Limits
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.stub import Stub, version_for, wire_method
from vmops.vsphere.wire.trust import Trust

START = (
    '<?xml version="1.0"?><soapenv:Envelope'
    ' xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soapenv:Body>'
)
END = "</soapenv:Body></soapenv:Envelope>"


@pytest.fixture
def stub() -> Iterator[Stub]:
    pool = ConnectionPool(ServerAddress("127.0.0.1", 1), Trust(insecure=True), Limits(answer_s=1))
    yield Stub(pool, "/sdk")
    pool.close()


def read(stub: Stub, changes: dict[str, str]) -> dict[str, Any]:
    """The values that a client gets from an answer with these property values."""
    body = "".join(
        f"<propSet><name>{name}</name>{value}</propSet>" for name, value in changes.items()
    )
    answer = (
        f'{START}<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval><objects>'
        f'<obj type="VirtualMachine">vm-7</obj>{body}</objects></returnval>'
        f"</RetrievePropertiesExResponse>{END}"
    )
    method = wire_method(vmodl.query.PropertyCollector, "RetrievePropertiesEx")
    found = stub._decode(method, answer.encode(), is_fault=False)
    return {change.name: change.val for change in found.objects[0].propSet}


@pytest.mark.parametrize("word", ["", "hibernated", "index", "__class__", "mro"])
def test_words_that_an_enumeration_does_not_have_are_taken(stub: Stub, word: str) -> None:
    power = f'<val xsi:type="VirtualMachinePowerState">{word}</val>'
    values = read(stub, {"runtime.powerState": power, "name": '<val xsi:type="xsd:string">w</val>'})
    assert values == {"runtime.powerState": word, "name": "w"}


def test_unknown_words_inside_an_object_leave_its_other_fields(stub: Stub) -> None:
    runtime = (
        '<val xsi:type="VirtualMachineRuntimeInfo"><connectionState>strange</connectionState>'
        "<powerState></powerState><toolsInstallerMounted>true</toolsInstallerMounted></val>"
    )
    found = read(stub, {"runtime": runtime})["runtime"]
    assert found.connectionState == "strange"
    assert found.powerState == ""
    assert found.toolsInstallerMounted is True


def test_known_words_stay_what_they_are(stub: Stub) -> None:
    power = '<val xsi:type="VirtualMachinePowerState">poweredOn</val>'
    found = read(stub, {"runtime.powerState": power})["runtime.powerState"]
    assert found == vim.VirtualMachine.PowerState.poweredOn
    assert not hasattr(vim.VirtualMachine.PowerState, "strange")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>no</html>",
        b"not xml at all",
        f"{START}<RetrievePropertiesExResponse".encode(),
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        f'{START}<R xmlns="urn:vim25"><obj type="">vm-1</obj></R>{END}'.encode(),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error_of_ours(stub: Stub, answer: bytes) -> None:
    method = wire_method(vmodl.query.PropertyCollector, "RetrievePropertiesEx")
    for is_fault in (True, False):
        with pytest.raises(VsphereFault, match="UnreadableAnswer"):
            stub._decode(method, answer, is_fault=is_fault)


@pytest.mark.parametrize(
    ("told", "spoken"),
    [
        ("6.5", "6.5"),
        ("8.0.3.0", "8.0.3.0"),
        ("8.0.99.0", "8.0.3.1"),
        ("", "6.5"),
        ("unreleased", "6.5"),
    ],
)
def test_speaks_the_newest_version_that_both_know(told: str, spoken: str) -> None:
    versions = VmomiSupport.versionMap
    assert version_for(told) == versions[f"vim25/{spoken}"]


def test_a_version_newer_than_all_is_met_with_the_newest() -> None:
    assert version_for("99.0") == version_for("9.1.1.0")


def test_only_the_session_cookie_is_taken_and_without_its_attributes(stub: Stub) -> None:
    stub._take_cookie(["other=1; Path=/", 'vmware_soap_session="52 ab"; Path=/; HttpOnly; Secure'])
    assert stub.cookie == 'vmware_soap_session="52 ab"'


def test_lazy_reads_and_calls_on_wire_objects_are_refused(stub: Stub) -> None:
    vm = vim.VirtualMachine("vm-7", stub)
    with pytest.raises(TypeError, match=r"Session\.properties"):
        _ = vm.name
    with pytest.raises(TypeError, match=r"Session\.call"):
        vm.PowerOn(None)


def test_an_unknown_method_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="FlyVM_Task"):
        wire_method(vim.VirtualMachine, "FlyVM_Task")
