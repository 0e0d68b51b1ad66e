"""What a guest has of its interfaces: a NIC that is plugged in while it runs, and its neighbour."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.backends import second_view
from tests.backends.lab import LabBackend
from tests.builders import a_uuid
from tests.guests.lab_guest import LabGuest
from tests.guests.plain_qemu import linux_guest
from tests.lab.client import Client, connect
from vmops import DirectoryImageStore, EngineSettings, Flavor, Instance, Vif, VMwareVMOps
from vmops.cli.verbs.guest_image import PROPERTIES

pytestmark = pytest.mark.guest

SHARED = "dv-net"  # it gives addresses
ALONE = "VM Network"  # it does not
MACS = ("00:50:56:3a:00:01", "00:50:56:3a:00:02", "00:50:56:3a:00:03")
ADDRESS = r"vmops-guest: {} (10\.0\.2\.\d+)"


class SpawnedGuest(LabGuest):
    """A Linux guest that the engine spawned."""

    def __init__(self, client: Client, instance: Instance) -> None:
        self.client = client
        self.vm = second_view.vm_of(client.content, instance.uuid)
        self._log = client.lab.datastore_root("datastore1") / instance.uuid / "serial.log"
        self._seen = 0
        self._numbers = itertools.count(1)


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VMwareVMOps, Client]]:
    image = linux_guest()
    with ExitStack() as undo:
        backend = LabBackend("qemu")
        undo.callback(backend.close)
        client = connect(backend.lab)
        undo.callback(client.close)
        session = undo.enter_context(backend.connect())
        store = DirectoryImageStore(tmp_path_factory.mktemp("store"))
        store.add(image, "linux", properties=PROPERTIES["linux"])
        config = EngineSettings(datastore=backend.datastore)
        yield VMwareVMOps(session, images=store, config=config), client


def spawned(ops: VMwareVMOps, name: str, network: str, mac: str) -> Instance:
    instance = Instance(uuid=a_uuid(), name=f"vmops-test-{name}", flavor=Flavor(memory_mib=128))
    ops.spawn(None, instance, "linux", [Vif(network=network, mac_address=mac)])
    return instance


def test_a_second_nic_reaches_the_neighbour_while_it_is_plugged(
    ops: tuple[VMwareVMOps, Client],
) -> None:
    engine, client = ops
    one = spawned(engine, "one", ALONE, MACS[0])
    two = spawned(engine, "two", SHARED, MACS[1])
    first, second = SpawnedGuest(client, one), SpawnedGuest(client, two)
    neighbour = second.wait_for(ADDRESS.format("eth0")).group(1)
    first.wait_for(r"root login on 'tty1'")
    time.sleep(1.0)  # its shell is about to read the keyboard
    reach = f"ping -c 1 -W 3 {neighbour} > /dev/null 2>&1 && echo reached || echo alone"
    boots = first.run("cat /var/lib/boots")
    assert first.run(reach) == "alone"

    vif = Vif(network=SHARED, mac_address=MACS[2], id="port-2")
    engine.plug_vifs(one, [Vif(network=ALONE, mac_address=MACS[0]), vif])
    first.wait_for(ADDRESS.format("eth1"))
    assert first.run("cat /sys/class/net/eth1/address") == MACS[2]
    assert first.run(reach) == "reached"

    engine.plug_vifs(one, [vif])  # as it is
    assert first.run(reach) == "reached"

    engine.unplug_vifs(one, [vif])
    assert first.run("sleep 1; ls /sys/class/net | grep -c eth") == "1"
    assert first.run(reach) == "alone"
    engine.unplug_vifs(one, [vif])

    subnet = {
        "cidr": "10.0.2.0/24", "gateway": {"address": "10.0.2.2"}, "ips": [{"address": neighbour}],
    }  # fmt: skip
    engine.inject_network_info(
        two, [{"address": MACS[1], "network": {"bridge": SHARED, "subnets": [subnet]}}]
    )
    told = json.loads(base64.b64decode(second.run("guestinfo metadata")))
    assert told["network"]["ethernets"]["nic0"]["addresses"] == [f"{neighbour}/24"]

    # All this time it was the same boot.
    assert first.run("cat /var/lib/boots") == boots == "1"
