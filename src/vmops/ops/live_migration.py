"""Live migration: move a running instance to another host, with or without its disks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vmops.errors import HostNotFound, InvalidPowerState, MigrationPreCheckFailed, NoSuitableHost
from vmops.model.power import PowerState
from vmops.ops.engine import Engine
from vmops.ops.placement import FILTERS, WantedSpace, roomiest
from vmops.ops.states import called, describe_state
from vmops.progress import Observer
from vmops.specs.relocation import relocation
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.inventory_types import ClusterInfo, DatastoreInfo, HostInfo
from vmops.vsphere.lookup import with_vm
from vmops.vsphere.virtual_machine import VirtualMachine

_STATE = "runtime.powerState"
_HOST = "runtime.host"
_DATASTORES = "datastore"
_NETWORKS = "network"

Callback = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a VM goes; ``datastore`` None: its disks stay."""

    host: HostInfo
    cluster: ClusterInfo
    datastore: DatastoreInfo | None


def live_migration(  # noqa: PLR0913 - what, whither, how, and who is told
    engine: Engine,
    instance_uuid: str,
    dest: str,
    observe: Observer,
    *,
    block_migration: bool,
    post: Callback,
    recover: Callback,
) -> None:
    """Move a running instance to the host ``dest`` without stopping it.

    1. Check the destination
    2. Move the VM
    3. Check where it runs

    With ``block_migration`` its disks move to another datastore of that host, the one with most
    free space; without, they stay, and the host must have their datastores. ``post`` is called once
    after success. ``recover`` is called once if the move failed, the VM then running where it was,
    and the move's error is raised. What the check refuses is raised before either is called.

    Raises:
        InstanceNotFound: there is no such instance.
        HostNotFound: there is no host of this name.
        InvalidPowerState: it is not running.
        MigrationPreCheckFailed: the host cannot take it; the message says why. Nothing was moved.
    """

    def do(vm: VirtualMachine) -> None:
        with Operation("live_migration", observe) as run:
            move = run(check_destination(engine, vm, instance_uuid, dest, block_migration))
            try:
                run(move_vm(vm, move, observe))
                run(check_arrival(vm, move))
            except BaseException:
                recover()
                raise
        post()

    with_vm(engine.session, instance_uuid, do)


@step("Check the destination")
def check_destination(
    engine: Engine, vm: VirtualMachine, instance_uuid: str, dest: str, block_migration: bool
) -> Reversible[Move]:
    """Refuse what cannot succeed, before anything is moved."""
    inventory = engine.session.inventory
    host = next((h for h in inventory.hosts() if h.name == dest), None)
    if host is None:
        raise HostNotFound(dest, [h.name for h in inventory.hosts()])
    found = vm.read(_STATE, _HOST, _DATASTORES, _NETWORKS)
    name = called(vm, instance_uuid)
    state = found.get(_STATE)
    if state != PowerState.POWERED_ON:
        word = describe_state(PowerState(state) if state else None)
        raise InvalidPowerState(f"{name} is {word}; only a running one is migrated live.")
    if _moid(found.get(_HOST)) == host.moid and not block_migration:
        raise MigrationPreCheckFailed(f"{name} runs on {dest} already.")
    if not host.connected or host.in_maintenance:
        why = "in maintenance" if host.connected else "not connected"
        raise MigrationPreCheckFailed(f"The host {dest} is {why}.")
    there = {_moid(one) for one in found.get(_NETWORKS) or ()}
    missing = [n.name for n in inventory.networks() if n.moid in there and host.moid not in n.hosts]
    if missing:
        raise MigrationPreCheckFailed(f"The host {dest} has no network {', '.join(missing)}.")
    cluster = next(c for c in inventory.clusters() if c.moid == host.cluster)
    present = {_moid(one) for one in found.get(_DATASTORES) or ()}
    if block_migration:
        target = _target_datastore(engine, host, cluster, present)
    else:
        target = None
        _require_mounted(inventory.datastores(), present, host)
    yield Move(host=host, cluster=cluster, datastore=target)


def _require_mounted(
    datastores: tuple[DatastoreInfo, ...], present: set[str], host: HostInfo
) -> None:
    for datastore in datastores:
        mounts = datastore.hosts_read_write
        if datastore.moid in present and mounts and host.moid not in mounts:
            raise MigrationPreCheckFailed(
                f"The host {host.name} has not mounted {datastore.name}."
                " Migrate with the disks (block migration)."
            )


def _target_datastore(
    engine: Engine, host: HostInfo, cluster: ClusterInfo, present: set[str]
) -> DatastoreInfo:
    """The roomiest other datastore of the host that passes the filters of `spawn`."""
    wanted = WantedSpace(settings=engine.settings, hosts=(host,), needed_bytes=0)
    others = [
        d
        for d in engine.session.inventory.datastores()
        if d.moid in cluster.datastores
        and d.moid not in present
        and not any(passes(d, wanted) for passes in FILTERS)
    ]
    if not others:
        raise MigrationPreCheckFailed(
            f"The host {host.name} has no other datastore that the disks could move to."
        )
    return roomiest(others, wanted.reserved)


def _moid(moref: Any) -> str:
    return str(moref._moId) if moref is not None else ""


@step("Move the VM")
def move_vm(vm: VirtualMachine, move: Move, observe: Observer) -> Reversible[None]:
    """Move it in one task; if that fails the server leaves the VM where it was."""
    vm.relocate(
        relocation(
            host=move.host.moref,
            pool=move.cluster.resource_pool,
            datastore=move.datastore.moref if move.datastore else None,
        ),
        observe=observe,
    )
    yield


@step("Check where it runs")
def check_arrival(vm: VirtualMachine, move: Move) -> Reversible[None]:
    """Believe the VM, not the task."""
    where = _moid(vm.read(_HOST).get(_HOST))
    if where != move.host.moid:
        raise NoSuitableHost(f"The VM {vm.moid} did not arrive on {move.host.name}.")
    yield
