"""What cloud-init would find: the disc that carries guestinfo, read by a guest without tools."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pyVmomi import vim

from tests.guests.lab_guest import LabGuest
from tests.guests.plain_qemu import require_qemu
from tests.lab.client import Client, connect
from vmops.lab import Lab, LabSettings

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    require_qemu()
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("seed"), hypervisor="qemu")
    with ExitStack() as undo:
        client = connect(undo.enter_context(Lab.run(settings)))
        undo.callback(client.stub.DropConnections)
        yield client


def test_the_guest_reads_its_seed_wherever_it_goes(client: Client) -> None:
    guest = LabGuest(client, "seeded", mac="00:50:56:0a:0b:0e")
    metadata = json.dumps({"local-hostname": "web1", "network": {"version": 2}})
    guest.set_extra(
        guestinfo__metadata=base64.b64encode(metadata.encode()).decode(),
        guestinfo__metadata__encoding="base64",
        guestinfo__userdata="#cloud-config",
    )
    devices = len(guest.vm.config.hardware.device)
    guest.power_on()
    guest.wait_for("root login on 'tty1'")

    guest.run("mount -r -t iso9660 /dev/sr0 /mnt")
    assert guest.run("ls /mnt") == "meta-data       network-config  user-data" or sorted(
        guest.run("ls /mnt").split()
    ) == ["meta-data", "network-config", "user-data"]
    assert guest.run("cat /mnt/user-data; echo") == "#cloud-config"
    told = json.loads(guest.run("cat /mnt/meta-data; echo"))
    assert told == {"instance-id": guest.vm.config.uuid, "local-hostname": "web1"}
    assert "CIDATA" in guest.run("dd if=/dev/sr0 bs=2048 skip=16 count=1 2>/dev/null | strings")
    assert len(guest.vm.config.hardware.device) == devices

    guest.set_extra(guestinfo__userdata="changed while it runs")
    other = next(host for host in client.compute.host if host != guest.vm.runtime.host)
    client.result(guest.vm.MigrateVM_Task(None, other, "defaultPriority"))
    guest.run("umount /mnt; mount -r -t iso9660 /dev/sr0 /mnt")
    assert guest.run("cat /mnt/user-data; echo") == "#cloud-config"
    client.result(guest.vm.SuspendVM_Task())
    guest.power_on()
    guest.run("umount /mnt; echo 3 > /proc/sys/vm/drop_caches; mount -r -t iso9660 /dev/sr0 /mnt")
    assert guest.run("cat /mnt/user-data; echo") == "changed while it runs"


def test_a_guest_that_is_told_later_has_none_and_can_be_moved(client: Client) -> None:
    guest = LabGuest(client, "unseeded", mac="00:50:56:0a:0b:0f")
    guest.power_on()
    guest.wait_for("root login on 'tty1'")
    guest.set_extra(guestinfo__userdata="later")
    other = next(host for host in client.compute.host if host != guest.vm.runtime.host)

    client.result(guest.vm.MigrateVM_Task(None, other, "defaultPriority"))
    assert guest.run("ls /dev/sr0 2>&1 || true").startswith("ls:")
    client.result(guest.vm.SuspendVM_Task())
    guest.power_on()
    assert guest.run("cat /var/lib/boots") == "1"
    assert guest.vm.runtime.powerState == vim.VirtualMachine.PowerState.poweredOn
