"""Where a new instance goes, decided before anything of it is there."""

from __future__ import annotations

from vmops.errors import InstanceExists
from vmops.ops.engine import Engine
from vmops.ops.placement import Placement, find_networks, pick_datastore
from vmops.ops.spawn_request import SpawnRequest
from vmops.steps import Reversible, step
from vmops.vsphere.lookup import find_vm_on_server


@step("Choose where it goes")
def choose_placement(
    engine: Engine, request: SpawnRequest, needed_bytes: int
) -> Reversible[Placement]:
    """Choose cluster, datastore and port groups; the space is reserved until the spawn ends."""
    uuid = request.instance.uuid
    if (there := find_vm_on_server(engine.session, uuid)) is not None:
        raise InstanceExists(uuid, str(there.read("name").get("name", "")))
    inventory = engine.session.inventory
    cluster = inventory.cluster(engine.cluster_name)
    networks = find_networks(inventory, cluster, request.vifs)
    with engine.reservations.choose(
        lambda reserved: pick_datastore(
            inventory, cluster, engine.settings, needed_bytes, reserved
        ),
        needed_bytes,
    ) as datastore:
        yield Placement(
            cluster=cluster,
            datacenter=inventory.datacenter(cluster.datacenter),
            datastore=datastore,
            networks=networks,
        )
