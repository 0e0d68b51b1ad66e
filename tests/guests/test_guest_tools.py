"""The tools in a real guest, seen by a client of the lab and by the guest's own serial line."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from tests.guests.lab_guest import LabGuest
from tests.guests.plain_qemu import require_qemu
from tests.lab.client import Client, connect
from vmops.lab import Lab, LabSettings
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.operations.tools import quiesce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.guest
MAC = "00:50:56:0a:0b:0c"


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Client]]:
    """Starts a lab of always the same state, and gives a client of it."""
    require_qemu()
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("tools"), hypervisor="qemu")
    with ExitStack() as undo:

        def start() -> Client:
            client = connect(undo.enter_context(Lab.run(settings)))
            undo.callback(client.stub.DropConnections)
            return client

        yield start


@pytest.fixture(scope="module")
def guest(labs: Callable[[], Client]) -> LabGuest:
    """One guest for all tests, each of which leaves it with its tools running."""
    made = LabGuest(labs(), "tools", mac=MAC)
    assert made.vm.guest.toolsStatus == "toolsNotInstalled"
    made.set_extra(guestinfo__colour="blue")
    made.power_on()
    with pytest.raises(vim.fault.ToolsUnavailable):
        made.vm.ShutdownGuest()
    made.wait_until("guest.toolsRunningStatus", "guestToolsRunning", seconds=120)
    made.wait_until("guest.ipAddress", lambda value: value is not None)
    made.wait_for("root login on 'tty1'")
    return made


def quiesced(guest: LabGuest, body: Any) -> bool:
    """Do something while the guest is quiesced, and return whether it was."""

    async def run(kernel: Any) -> bool:
        vm = kernel.registry.find(guest.vm, ManagedEntity)
        async with quiesce(vm) as is_quiesced:
            await kernel.blocking(body)
        return is_quiesced

    return guest.client.lab.on_loop(run)


def test_what_the_tools_tell_is_shown(guest: LabGuest) -> None:
    shown = guest.vm.guest
    assert (shown.toolsStatus, shown.toolsVersionStatus2) == ("toolsOk", "guestToolsUnmanaged")
    assert (shown.guestState, shown.guestOperationsReady) == ("running", False)
    assert shown.hostName == "vmops-guest"
    [nic] = shown.net
    assert (nic.macAddress, nic.network, nic.connected) == (MAC, "dv-net", True)
    assert nic.deviceConfigId == 4000
    assert shown.ipAddress in nic.ipAddress
    assert guest.vm.guestHeartbeatStatus == "green"
    assert guest.vm.summary.guest.ipAddress == shown.ipAddress
    assert guest.vm.summary.quickStats.guestHeartbeatStatus == "green"
    # The second view: the guest itself, and the segment's DHCP server.
    assert shown.ipAddress in guest.run("ip -o -4 addr show eth0")


def test_guestinfo_goes_both_ways_while_the_guest_runs(guest: LabGuest) -> None:
    assert guest.run("guestinfo colour") == "blue"
    guest.set_extra(guestinfo__colour='grün, "rot"', guestinfo__new="1")
    assert guest.run("guestinfo colour; echo; guestinfo new") == 'grün, "rot"\n1'
    guest.set_extra(guestinfo__new="")
    assert guest.run("guestinfo new || echo none") == "none"
    guest.set_extra(guestinfo__long="0123456789abcdef" * 256)
    assert guest.run("guestinfo long | wc -c") == "4096"
    assert guest.run("guestinfo-set answer 'four two'; guestinfo answer") == "four two"
    assert guest.extra()["guestinfo.answer"] == "four two"
    guest.set_extra(other="1")
    assert guest.extra()["guestinfo.answer"] == "four two"
    vmx = guest.client.file(guest.vm.config.files.vmPathName).read_text()
    assert 'other = "1"' in vmx
    assert "guestinfo.answer" not in vmx
    assert "there can be no name" in guest.run("guestinfo-set 'no such' 1")
    guest.set_extra(isolation__tools__setInfo__disable="TRUE")
    assert "is set" in guest.run("guestinfo-set answer 3")
    guest.set_extra(isolation__tools__setInfo__disable="")


def test_a_quiesced_guest_does_not_write(guest: LabGuest) -> None:
    def try_to_write() -> None:
        guest.start("echo 1 > /var/written; sync; echo it is written")
        with pytest.raises(AssertionError):
            guest.wait_for("it is written", seconds=3)

    assert quiesced(guest, try_to_write)
    guest.wait_for("it is written", seconds=10)


def test_a_guest_that_refuses_to_be_quiesced(guest: LabGuest) -> None:
    guest.run(
        "mkdir -p /etc/tools; printf '#!/bin/sh\\necho database is busy; exit 1\\n'"
        " > /etc/tools/pre-freeze; chmod +x /etc/tools/pre-freeze"
    )
    with pytest.raises(vim.fault.ApplicationQuiesceFault, match="database is busy"):
        quiesced(guest, lambda: None)
    guest.run("rm /etc/tools/pre-freeze")


def test_a_guest_thaws_by_itself_and_says_so(guest: LabGuest) -> None:
    with pytest.raises(vim.fault.FilesystemQuiesceFault, match="thawed already"):
        quiesced(guest, lambda: time.sleep(10.5))
    assert guest.run("echo 2 > /var/written; cat /var/written") == "2"


def test_tools_that_are_killed_are_missed(guest: LabGuest) -> None:
    guest.start("kill -9 $(pidof vmops-tools)")
    assert guest.wait_until("guest.toolsRunningStatus", "guestToolsNotRunning") < 20
    assert guest.vm.guest.toolsStatus == "toolsNotRunning"
    assert guest.vm.guestHeartbeatStatus == "red"
    assert guest.vm.guest.ipAddress is None
    with pytest.raises(vim.fault.ToolsUnavailable):
        guest.vm.RebootGuest()
    assert quiesced(guest, lambda: None) is False
    guest.type("vmops-tools&\n")
    guest.wait_until("guest.toolsStatus", "toolsOk")
    guest.wait_until("guest.ipAddress", lambda value: value is not None)
    assert guest.run("guestinfo answer") == "four two"


def test_a_guest_that_is_suspended_has_its_tools_again(guest: LabGuest) -> None:
    guest.vm.StandbyGuest()
    assert guest.vm.runtime.powerState == "suspended"
    assert guest.vm.guest.toolsRunningStatus == "guestToolsNotRunning"
    guest.power_on()
    assert guest.wait_until("guest.toolsStatus", "toolsOk") < 10
    guest.wait_until("guest.ipAddress", lambda value: value is not None)


def test_a_guest_that_moves_to_another_host_keeps_its_tools(guest: LabGuest) -> None:
    [other] = [host for host in guest.client.compute.host if host != guest.vm.runtime.host]
    address = guest.vm.guest.ipAddress
    guest.client.result(guest.vm.MigrateVM_Task(None, other, "defaultPriority", None))
    assert guest.vm.runtime.host == other
    guest.wait_until("guest.toolsStatus", "toolsOk")
    assert guest.run("guestinfo colour").startswith("gr")
    assert guest.vm.guest.ipAddress == address


def test_a_lab_that_was_killed_finds_the_tools_again(
    guest: LabGuest, labs: Callable[[], Client]
) -> None:
    guest.client.lab.kill()
    guest.reach_by(labs())
    assert guest.wait_until("guest.toolsStatus", "toolsOk") < 10
    guest.wait_until("guest.ipAddress", lambda value: value is not None)
    assert guest.run("guestinfo colour").startswith("gr")


def test_a_guest_reboots_and_shuts_down_in_order(guest: LabGuest) -> None:
    guest.vm.RebootGuest()
    guest.wait_for("vmops-guest: restarting")
    guest.wait_for("vmops-guest: boot 2")
    assert guest.vm.runtime.powerState == "poweredOn"
    guest.wait_until("guest.toolsStatus", "toolsOk", seconds=60)
    guest.wait_for("root login on 'tty1'")
    guest.run("guestinfo-set last 1")
    assert guest.extra()["guestinfo.last"] == "1"
    guest.vm.ShutdownGuest()
    guest.wait_for("vmops-guest: powering off")
    guest.wait_until("runtime.powerState", "poweredOff")
    assert guest.vm.guest.toolsStatus == "toolsNotRunning"
    assert guest.vm.guest.guestState == "notRunning"
    assert "guestinfo.last" not in guest.extra()  # what the guest sets is gone with it
    with pytest.raises(vim.fault.InvalidPowerState):
        guest.vm.ShutdownGuest()
