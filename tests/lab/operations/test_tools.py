"""Tools of machines without a guest: none, or such that obey or refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client
from tests.lab.specs import extra
from vmops.lab.hypervisor.tools import InfoRefused
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.tools_info import GuestTools
from vmops.lab.operations.tools import quiesce


def with_tools(client: Client, name: str, how: str = "running") -> Any:
    vm = client.create(name, extraConfig=extra(**{"vmops.lab.tools": how}))
    client.result(vm.PowerOnVM_Task(None))
    return vm


def quiesced(client: Client, vm: Any, error: BaseException | None = None) -> bool:
    async def run(kernel: Kernel) -> bool:
        async with quiesce(kernel.registry.find(vm, Machine)) as is_quiesced:
            if error is not None:
                raise error
        return is_quiesced

    return client.lab.on_loop(run)


def test_a_machine_without_tools_says_so_and_obeys_nothing(client: Client, name: str) -> None:
    vm = client.create(name)
    for method in (vm.ShutdownGuest, vm.RebootGuest, vm.StandbyGuest):
        with pytest.raises(vim.fault.InvalidPowerState):
            method()
    client.result(vm.PowerOnVM_Task(None))
    assert vm.guest.toolsStatus == "toolsNotInstalled"
    assert vm.guest.toolsRunningStatus == "guestToolsNotRunning"
    assert vm.guestHeartbeatStatus == "gray"
    for method in (vm.ShutdownGuest, vm.RebootGuest, vm.StandbyGuest):
        with pytest.raises(vim.fault.ToolsUnavailable):
            method()
    assert vm.runtime.powerState == "poweredOn"
    assert quiesced(client, vm) is False


def test_a_machine_told_to_have_tools_obeys_them(client: Client, name: str) -> None:
    vm = with_tools(client, name)
    assert (vm.guest.toolsStatus, vm.guestHeartbeatStatus) == ("toolsOk", "green")
    assert vm.config.tools.toolsVersion == 1
    vm.RebootGuest()
    assert vm.runtime.powerState == "poweredOn"
    assert quiesced(client, vm) is True
    vm.StandbyGuest()
    assert vm.runtime.powerState == "suspended"
    client.result(vm.PowerOnVM_Task(None))
    vm.ShutdownGuest()
    assert vm.runtime.powerState == "poweredOff"
    assert vm.guest.toolsStatus == "toolsNotRunning"
    assert quiesced(client, vm) is False


def test_what_fails_while_a_guest_is_quiesced_is_what_is_raised(client: Client, name: str) -> None:
    vm = with_tools(client, name)
    with pytest.raises(vim.fault.NoDiskSpace):
        quiesced(client, vm, vim.fault.NoDiskSpace(file="x", datastore="y"))


def test_a_guest_that_refuses_to_be_quiesced(client: Client, name: str) -> None:
    vm = with_tools(client, name, "refusing")
    with pytest.raises(vim.fault.ApplicationQuiesceFault):
        quiesced(client, vm)


def tell(client: Client, vm: Any, *values: tuple[str, str]) -> list[str]:
    """Let the guest set values, and return its refusals."""

    async def run(kernel: Kernel) -> list[str]:
        refusals = []
        for key, value in values:
            try:
                GuestTools(kernel).info_set(vm._GetMoId(), key, value)
            except InfoRefused as error:
                refusals.append(str(error))
        await asyncio.sleep(0)
        return refusals

    return client.lab.on_loop(run)


def test_what_a_guest_sets_lasts_until_it_is_off(client: Client, name: str) -> None:
    vm = with_tools(client, name)
    client.reconfigure(vm, extraConfig=extra(**{"guestinfo.Own": "1"}))
    assert tell(client, vm, ("guestinfo.own", "2"), ("guestinfo.new", "3")) == []
    shown = {each.key.lower(): each.value for each in vm.config.extraConfig}
    assert (shown["guestinfo.own"], shown["guestinfo.new"]) == ("2", "3")
    # Neither a reconfiguration nor a new name makes it the machine's own, in its file.
    client.reconfigure(vm, annotation="a")
    client.result(vm.Rename_Task(name + "-b"))
    entries = client.file(vm.config.files.vmPathName).read_text()
    assert 'guestinfo.Own = "1"' in entries
    assert "guestinfo.new" not in entries
    shown = {each.key.lower(): each.value for each in vm.config.extraConfig}
    assert (shown["guestinfo.own"], shown["guestinfo.new"]) == ("2", "3")
    client.result(vm.PowerOffVM_Task())
    shown = {each.key: each.value for each in vm.config.extraConfig}
    assert shown["guestinfo.Own"] == "1"
    assert "guestinfo.new" not in shown


def test_a_reconfiguration_has_the_last_word_on_what_a_guest_has_set(
    client: Client, name: str
) -> None:
    vm = with_tools(client, name)
    tell(client, vm, ("guestinfo.a", "guest"))
    client.reconfigure(vm, extraConfig=extra(**{"guestinfo.A": "mine"}))
    client.result(vm.PowerOffVM_Task())
    assert {each.key.lower(): each.value for each in vm.config.extraConfig}["guestinfo.a"] == "mine"


def test_a_guest_cannot_set_without_end_or_where_it_is_forbidden(client: Client, name: str) -> None:
    vm = with_tools(client, name)
    many = [(f"guestinfo.k{number}", "1") for number in range(130)]
    assert tell(client, vm, *many) == ["the guest has set too many values"] * 2
    assert tell(client, vm, *[(f"guestinfo.k{n}", "x" * 16000) for n in range(20)])[0]
    client.reconfigure(vm, extraConfig=extra(**{"isolation.tools.setInfo.disable": "true"}))
    assert tell(client, vm, ("guestinfo.k1", "2")) == ["isolation.tools.setinfo.disable is set"]
