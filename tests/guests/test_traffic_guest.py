"""What a guest's card moves: counted by the lab, and by the guest itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pyVmomi import vim

from tests.guests.lab_guest import LabGuest
from tests.guests.plain_qemu import require_qemu
from tests.lab.client import connect
from vmops.lab import Lab, LabSettings

pytestmark = pytest.mark.guest
NIC = 4000
COUNTED = "cd /sys/class/net/eth0/statistics; cat rx_bytes tx_bytes rx_packets tx_packets"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabGuest]:
    require_qemu()
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("traffic"), hypervisor="qemu")
    with ExitStack() as undo:
        client = connect(undo.enter_context(Lab.run(settings)))
        undo.callback(client.stub.DropConnections)
        made = LabGuest(client, "sends", mac="00:50:56:0a:0b:10")
        made.power_on()
        made.wait_until("guest.ipAddress", lambda value: value is not None, seconds=180)
        made.wait_for("root login on 'tty1'")
        yield made


def by_the_lab(guest: LabGuest) -> list[int]:
    async def read(kernel: Any) -> Any:
        return (await kernel.hypervisor.statistics(guest.vm._GetMoId())).nics[NIC]

    nic = guest.client.lab.on_loop(read)
    return [nic.received_bytes, nic.sent_bytes, nic.received_packets, nic.sent_packets]


def by_the_guest(guest: LabGuest) -> list[int]:
    return [int(each) for each in guest.run(COUNTED).split()]


def values(guest: LabGuest, *names: str) -> dict[str, int]:
    manager = guest.client.content.perfManager
    keys = {
        each.key: each.nameInfo.key for each in manager.perfCounter if each.groupInfo.key == "net"
    }
    wanted = [key for key, name in keys.items() if name in names]
    spec = vim.PerformanceManager.QuerySpec(
        entity=guest.vm,
        intervalId=20,
        maxSample=1,
        metricId=[
            vim.PerformanceManager.MetricId(counterId=key, instance=str(NIC)) for key in wanted
        ],
    )
    [found] = manager.QueryPerf([spec])
    return {keys[each.id.counterId]: each.value[-1] for each in found.value}


def test_lab_and_guest_count_the_same(guest: LabGuest) -> None:
    lab_before, guest_before = by_the_lab(guest), by_the_guest(guest)
    names = ("received", "transmitted", "packetsRx", "packetsTx")
    values(guest, *names)

    assert "20 packets received" in guest.run("ping -c 20 -i 0.1 -s 1400 10.0.2.2", seconds=60)

    shown = values(guest, *names)
    lab_after, guest_after = by_the_lab(guest), by_the_guest(guest)
    for index, (lab_now, lab_then) in enumerate(zip(lab_after, lab_before, strict=True)):
        by_guest = guest_after[index] - guest_before[index]
        # A name being looked up, or an address being asked for, may fall in between.
        assert abs((lab_now - lab_then) - by_guest) <= (3 if index > 1 else 500)
    assert lab_after[0] - lab_before[0] > 20 * 1400
    assert shown["packetsRx"] >= 20
    assert shown["packetsTx"] >= 20
    assert shown["received"] > 0
    assert shown["transmitted"] > 0
