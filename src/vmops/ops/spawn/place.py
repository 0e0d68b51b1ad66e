"""Where a new instance goes, decided before anything of it is there."""

from __future__ import annotations

from vmops.errors import InstanceExists, InstanceUnacceptable, NotSupported
from vmops.model.hardware import Hardware
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.placement import Compliance, Placement, find_networks, pick_datastore
from vmops.ops.engine.port_groups import with_vlan
from vmops.ops.spawn.request import SpawnRequest
from vmops.steps import Reversible, step
from vmops.vsphere.live.records import ClusterInfo
from vmops.vsphere.objects.environment_browser import hardware_versions
from vmops.vsphere.objects.lookup import find_vm_on_server

_FIRST_API_WITH_TPM = (6, 7)


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
    _check_hardware(engine, cluster, request.hardware)
    compliance = _compliance(engine, cluster, request)
    networks = find_networks(inventory, cluster, request.vifs, with_vlan(request.vifs))
    with engine.reservations.choose(
        lambda reserved: pick_datastore(
            inventory, cluster, engine.settings, needed_bytes, reserved, compliance
        ),
        needed_bytes,
    ) as datastore:
        yield Placement(
            cluster=cluster,
            datacenter=inventory.datacenter(cluster.datacenter),
            datastore=datastore,
            networks=networks,
            storage_policy=compliance.policy.id if compliance is not None else "",
        )


def _compliance(engine: Engine, cluster: ClusterInfo, request: SpawnRequest) -> Compliance | None:
    """What the flavor's policy or that of the settings admits; it costs calls only if there is one.

    Raises:
        StoragePolicyNotFound: there is no policy of this name.
        NotSupported: the endpoint has no policies.
    """
    name = request.instance.flavor.storage_policy or engine.settings.storage_policy
    if not name:
        return None
    policies = engine.session.storage_policies
    policy = policies.named(name)
    there = [d for d in engine.session.inventory.datastores() if d.moid in cluster.datastores]
    return Compliance(policy=policy, datastores=policies.compliant(policy, there))


def _check_hardware(engine: Engine, cluster: ClusterInfo, hardware: Hardware) -> None:
    """Refuse what the cluster's hosts do not know; it costs calls only for a version."""
    version, endpoint = hardware.version, engine.session.endpoint
    known = hardware_versions(engine.session, cluster.moref) if version else ()
    if known and version not in known:
        raise InstanceUnacceptable(
            f"The hosts of {cluster.name} have no hardware version {version}, only:"
            f" {', '.join(known)}."
        )
    if hardware.tpm and not endpoint.speaks(*_FIRST_API_WITH_TPM):
        raise NotSupported(
            f"{endpoint.product_name} has no virtual TPM: its API is {endpoint.api_version}, and"
            " vSphere has them since 6.7."
        )
