from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import VmomiSupport, vim, vmodl

import vmops
from vmops import errors
from vmops.vsphere.wire import faults

SOURCE = Path(vmops.__file__).parent


def names(kind: type[Any]) -> list[str]:
    return [vars(k)["_wsdlName"] for k in kind.__mro__ if "_wsdlName" in vars(k)]


def wire_methods() -> dict[str, list[Any]]:
    """Every method of the API, by its name on the wire."""
    kinds = VmomiSupport.ListManagedTypes()
    found: dict[str, list[Any]] = {}
    for name in kinds:
        if name.startswith("vim."):
            for info in VmomiSupport.GetVmodlType(name)._GetMethodList():
                found.setdefault(info.wsdlName, []).append(info)
    return found


METHODS = wire_methods()


def called() -> list[str]:
    """The methods that the engine calls: every literal in its source that is one's name."""
    literals = set()
    for folder in ("vsphere", "ops", "images"):
        for file in (SOURCE / folder).rglob("*.py"):
            literals |= set(re.findall(r'"([A-Z][A-Za-z]+(?:_Task)?)"', file.read_text()))
    return sorted(literals & METHODS.keys())


def test_the_search_finds_the_methods() -> None:
    assert {"CreateVM_Task", "PowerOnVM_Task", "MakeDirectory", "Login"} <= set(called())


@pytest.mark.parametrize("method", called())
def test_every_fault_that_a_called_method_declares_is_decided(method: str) -> None:
    undecided = []
    for info in METHODS[method]:
        for declared in info.faults:
            chain = names(VmomiSupport.GetVmodlType(declared))
            if not any(name in faults.FAULTS for name in chain) and not (
                chain[0] in faults.UNTRANSLATED or chain[1] in faults.UNTRANSLATED
            ):
                undecided.append(chain[0])
    assert undecided == []


def test_every_name_in_the_tables_is_a_fault_of_the_api() -> None:
    for name in [*faults.FAULTS, *faults.UNTRANSLATED]:
        kind = VmomiSupport.GetWsdlType("urn:vim25", name)
        assert issubclass(kind, vmodl.MethodFault)


def test_no_fault_is_in_both_tables() -> None:
    assert not faults.FAULTS.keys() & faults.UNTRANSLATED


@pytest.mark.parametrize("name", sorted(faults.FAULTS))
def test_every_translated_fault_can_be_built_and_read(name: str) -> None:
    fault = VmomiSupport.GetWsdlType("urn:vim25", name)()
    error = faults.translate(fault, method="SomeMethod")
    assert type(error) is faults.FAULTS[name]
    assert len(str(error)) > 10
    assert "None" not in str(error)


@pytest.mark.parametrize(
    ("fault", "expected", "text"),
    [
        (
            vim.fault.InvalidPowerState(existingState="poweredOff", requestedState="poweredOn"),
            errors.InvalidPowerState,
            "The virtual machine is poweredOff; this needs it to be poweredOn.",
        ),
        (
            vim.fault.InvalidPowerState(existingState="poweredOn", requestedState="poweredOn"),
            errors.InvalidPowerState,
            "The virtual machine is poweredOn already.",
        ),
        (
            vim.fault.NoPermission(
                object=vim.VirtualMachine("vm-7"), privilegeId="VirtualMachine.Interact.PowerOn"
            ),
            errors.NoPermission,
            "The user lacks the privilege VirtualMachine.Interact.PowerOn on VirtualMachine:vm-7.",
        ),
        (
            vmodl.fault.ManagedObjectNotFound(obj=vim.VirtualMachine("vm-7")),
            errors.ManagedObjectNotFound,
            "The server has no object VirtualMachine:vm-7 (any more).",
        ),
        (
            vim.fault.FileNotFound(file="[ds] a/b.vmdk"),
            errors.FileNotFound,
            "There is no file '[ds] a/b.vmdk'.",
        ),
        (
            vim.fault.DuplicateName(name="web1", object=vim.VirtualMachine("vm-7")),
            errors.DuplicateName,
            "The name 'web1' is taken.",
        ),
        (
            vmodl.fault.InvalidArgument(invalidProperty="spec.memoryMB", msg="Too much."),
            errors.InvalidArgument,
            "The server refuses the argument 'spec.memoryMB': Too much.",
        ),
        (
            vim.fault.NoDiskSpace(file="[ds] a", datastore="ds"),
            errors.NoDiskSpace,
            "The datastore ds is full.",
        ),
    ],
)
def test_messages_say_what_is_wrong(
    fault: vmodl.MethodFault, expected: type[errors.VMOpsError], text: str
) -> None:
    error = faults.translate(fault, method="X")
    assert type(error) is expected
    assert str(error) == text


def test_the_most_specific_parent_decides() -> None:
    # HostInMaintenance... : a fault without a row of its own is what its parent is.
    assert type(faults.translate(vim.fault.InvalidHostState())) is errors.Conflict
    assert type(faults.translate(vim.fault.InsufficientMemoryResourcesFault())) is errors.Exhausted
    assert type(faults.translate(vim.fault.FileLocked())) is errors.FileLocked


def test_a_cause_decides_where_the_fault_itself_is_unknown() -> None:
    cause = vim.fault.NoDiskSpace(file="[ds] a", datastore="ds")
    fault = vim.fault.VmConfigFault(faultCause=vmodl.fault.SystemError(faultCause=cause))
    assert type(faults.translate(fault)) is errors.NoDiskSpace


def test_a_chain_of_causes_that_is_a_circle_ends() -> None:
    fault = vmodl.fault.SystemError(msg="odd")
    fault.faultCause = fault
    assert isinstance(faults.translate(fault), errors.VsphereFault)


def test_unknown_faults_keep_name_message_and_causes() -> None:
    fault = vim.fault.VmConfigFault(msg="Wrong.", faultCause=vmodl.fault.SystemError())
    error = faults.translate(fault, method="ReconfigVM_Task")
    assert type(error) is errors.VsphereFault
    assert (error.fault_name, error.message, error.causes) == (
        "VmConfigFault",
        "Wrong.",
        ("SystemError",),
    )
    assert "ReconfigVM_Task" in str(error)


def test_a_failed_task_keeps_fault_message_task_and_entity() -> None:
    error = faults.translate_task(
        vmodl.fault.SystemError(msg="Broken."),
        "Broken.",
        task="VirtualMachine.clone",
        entity="VirtualMachine:vm-7 (web1)",
    )
    assert type(error) is errors.TaskFailed
    for part in ("SystemError", "Broken.", "VirtualMachine.clone", "VirtualMachine:vm-7 (web1)"):
        assert part in str(error)


def test_a_known_fault_of_a_task_names_the_task_in_a_note() -> None:
    error = faults.translate_task(
        vim.fault.FileLocked(file="[ds] a"), "", task="VirtualMachine.powerOn", entity="vm-7"
    )
    assert type(error) is errors.FileLocked
    assert error.__notes__ == ["Task VirtualMachine.powerOn on vm-7."]
