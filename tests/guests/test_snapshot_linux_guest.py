"""Snapshots of a Linux guest, told by the files it wrote before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from tests.guests.lab_guest import LabGuest
from tests.guests.plain_qemu import require_qemu
from tests.lab.client import connect
from vmops.lab import Lab, LabSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.guest


@pytest.fixture
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabGuest]:
    require_qemu()
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("files"), hypervisor="qemu")
    with Lab.run(settings) as lab:
        client = connect(lab)
        made = LabGuest(client, "files", mac="00:50:56:0a:0b:1c")
        made.power_on()
        made.wait_until("guest.toolsRunningStatus", "guestToolsRunning", seconds=120)
        made.wait_for("root login on 'tty1'")
        yield made
        client.stub.DropConnections()


def test_a_quiesced_snapshot_holds_what_was_written_before(guest: LabGuest) -> None:
    client = guest.client
    guest.run("echo before > /var/file")  # not synced: quiescing does that
    client.result(guest.vm.CreateSnapshot_Task("quiesced", "", False, True))
    [node] = guest.vm.snapshot.rootSnapshotList
    assert node.quiesced
    guest.run("echo after > /var/file; sync")
    kept = client.result(guest.vm.CreateSnapshot_Task("running", "", True, False))
    guest.run("echo later > /var/file; sync")
    assert guest.run("cat /var/file") == "later"

    # With its memory the guest goes on in the middle of what it did.
    client.result(kept.RevertToSnapshot_Task(None, None))
    assert guest.vm.runtime.powerState == vim.VirtualMachine.PowerState.poweredOn
    guest.wait_until("guest.toolsRunningStatus", "guestToolsRunning")
    assert guest.run("cat /var/file") == "after"

    # Without it the guest boots from the disk as it was.
    client.result(node.snapshot.RevertToSnapshot_Task(None, None))
    guest.power_on()
    guest.wait_for("root login on 'tty1'", seconds=120)
    guest.wait_until("guest.toolsRunningStatus", "guestToolsRunning", seconds=60)
    assert guest.run("cat /var/file") == "before"

    client.result(guest.vm.RemoveAllSnapshots_Task())
    assert guest.run("cat /var/file; echo merged > /var/file; sync; cat /var/file") == (
        "before\nmerged"
    )
    assert guest.vm.snapshot is None
