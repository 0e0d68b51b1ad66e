"""The encoder, against pyVmomi's own reader and writer."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import SoapAdapter, vim
from pyVmomi.VmomiSupport import FormatObject, GetVmodlType, ManagedObject, Object, binary, long

from tests.lab.client import message
from vmops.lab.kernel.service_instance import WIRE_VERSION
from vmops.lab.wire.codec import ANY, encoder, escape

HEAD = (
    '<v xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
)

DISK = vim.vm.device.VirtualDisk(
    key=2000,
    capacityInKB=2**33,
    backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName="[ds] a/b.vmdk", diskMode="persistent", thinProvisioned=True
    ),
)
VALUES: list[tuple[str, type, Any]] = [
    ("data object", vim.vm.device.VirtualDisk, DISK),
    ("derived type", vim.vm.device.VirtualDevice, DISK),
    ("data object as any", ANY, DISK),
    ("text as any", ANY, "a < b & c > d \r\n \u20ac"),
    ("yes as any", ANY, True),
    ("number as any", ANY, 5),
    ("long as any", ANY, long(2**40)),
    ("float as any", ANY, 1.5),
    ("time as any", ANY, datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
    ("bytes as any", ANY, binary(b"\x00\xff")),
    ("reference", vim.ManagedEntity, vim.VirtualMachine("vm-1")),
    ("reference as any", ANY, vim.VirtualMachine("vm-1")),
    ("references as any", ANY, ManagedObject.Array([vim.VirtualMachine("vm-1")])),
    ("strings as any", ANY, GetVmodlType("string[]")(["a", "b"])),
    ("devices as any", ANY, vim.vm.device.VirtualDevice.Array([DISK, DISK])),
    ("empty list as any", ANY, vim.vm.device.VirtualDevice.Array()),
    ("enumeration as any", ANY, vim.VirtualMachine.PowerState.poweredOn),
    ("option", vim.option.OptionValue, vim.option.OptionValue(key="k", value=long(3))),
]


def encoded(declared: type, value: Any, version: str = WIRE_VERSION) -> str:
    text = encoder(version).text("v", declared, value)
    assert text.startswith("<v")
    return HEAD + text[2:]


def read_back(declared: type, value: Any) -> Any:
    return SoapAdapter.Deserialize(encoded(declared, value), declared)


@pytest.mark.parametrize(
    ("declared", "value"), [each[1:] for each in VALUES], ids=[each[0] for each in VALUES]
)
def test_pyvmomi_reads_what_was_written(declared: type, value: Any) -> None:
    back = read_back(declared, value)
    assert type(back) is type(value)
    assert FormatObject(back) == FormatObject(value)


@pytest.mark.parametrize(
    ("declared", "value"), [each[1:] for each in VALUES], ids=[each[0] for each in VALUES]
)
def test_pyvmomi_writes_the_same(declared: type, value: Any) -> None:
    info = Object(name="v", type=declared, version=WIRE_VERSION, flags=0)
    theirs = SoapAdapter.SerializeToStr(value, info, WIRE_VERSION, {"urn:vim25": ""})
    theirs = re.sub(r' (xmlns(:\w+)?|versionId)="[^"]*"', "", theirs)
    # A reference's type is the one name the schema has for it.
    theirs = theirs.replace('xsi:type="ManagedObject"', 'xsi:type="ManagedObjectReference"')
    ours = encoder(WIRE_VERSION).text("v", declared, value)
    assert ours.replace("&#13;", "\r") == theirs


def test_an_older_client_gets_what_it_knows() -> None:
    controller = vim.vm.device.VirtualNVMEController(key=31000, busNumber=0, sharedBus="noSharing")
    new = encoded(vim.vm.device.VirtualDevice, controller)
    old = encoded(vim.vm.device.VirtualDevice, controller, "vim.version.version2")
    assert 'xsi:type="VirtualNVMEController"' in new
    assert "sharedBus" in new
    assert 'xsi:type="VirtualController"' in old
    assert "sharedBus" not in old


def test_a_fault_stands_in_its_envelope_with_a_sentence() -> None:
    info = vim.TaskInfo(
        key="k",
        task=vim.Task("t"),
        descriptionId="d",
        state="error",
        cancelled=False,
        cancelable=False,
        reason=vim.TaskReasonUser(userName="u"),
        eventChainId=1,
        queueTime=datetime(2020, 1, 1, tzinfo=UTC),
        error=vim.fault.FileLocked(file="[ds] a"),
        name=vim.VirtualMachine.PowerOn,
    )
    back = read_back(vim.TaskInfo, info)
    assert isinstance(back.error, vim.fault.FileLocked)
    assert (back.error.file, message(back.error)) == (
        "[ds] a",
        "Unable to access file [ds] a since it is locked",
    )
    assert back.name.info.wsdlName == "PowerOnVM_Task"


def test_what_must_be_set_is_missed() -> None:
    with pytest.raises(TypeError, match="task must be set"):
        encoder(WIRE_VERSION).text("v", vim.TaskInfo, vim.TaskInfo(key="k"))


def test_a_value_an_enumeration_does_not_have_is_refused() -> None:
    runtime = vim.vm.RuntimeInfo(powerState="exploded", connectionState="connected")
    with pytest.raises(TypeError, match="exploded"):
        encoder(WIRE_VERSION).text("v", vim.vm.RuntimeInfo, runtime)


def test_a_plain_list_has_no_place_in_any() -> None:
    with pytest.raises(TypeError, match="must know its type"):
        encoder(WIRE_VERSION).text("v", ANY, ["a"])


@given(st.text())
def test_any_text_survives_as_far_as_xml_can_say_it(text: str) -> None:
    back = ET.fromstring(f"<a>{escape(text)}</a>").text or ""  # noqa: S314  our own text
    sayable = "".join(
        each
        if re.match("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", each)
        else "\ufffd"
        for each in text
    )
    assert back == sayable
