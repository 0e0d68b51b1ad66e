"""Live migration: move a running instance to another host, with or without its disks."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmops.errors import (
    UNANSWERED,
    ConnectionLost,
    FileNotFound,
    HostNotFound,
    InvalidPowerState,
    MigrationPreCheckFailed,
    NoSuitableHost,
    Preempted,
    TimedOut,
    VMOpsError,
)
from vmops.model.datastore_path import DatastorePath
from vmops.model.power import PowerState
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.own_disks import is_volume, loose_disks
from vmops.ops.engine.placement import FILTERS, WantedSpace, roomiest
from vmops.ops.guard.preconditions import refuse_rescued, refuse_resized
from vmops.ops.guard.states import VmState, called, must_run
from vmops.specs.relocation import relocation
from vmops.steps import Operation, Reversible, noting, step
from vmops.vsphere.live.records import ClusterInfo, DatastoreInfo, HostInfo
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref

log = logging.getLogger(__name__)

_HOST = "runtime.host"
_DATASTORES = "datastore"
_NETWORKS = "network"

# Before what could not be deleted is tried again.
_WAITS_S = (0.2, 2.0)

_IN_DOUBT: tuple[type[BaseException], ...] = (*UNANSWERED, Preempted)

Callback = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a VM goes; ``datastore`` None: its disks stay."""

    host: HostInfo
    cluster: ClusterInfo
    datastore: DatastoreInfo | None
    volumes: tuple[tuple[int, Moref], ...] = ()
    """Device keys of volumes' disks with the datastores that they stay on."""
    loose_disks: frozenset[str] = frozenset()
    """Parents of its own that an earlier move copied for it, which the server may leave behind."""


def live_migration(
    engine: Engine,
    vm: VirtualMachine,
    dest: str,
    *,
    block_migration: bool,
    post: Callback,
    recover: Callback,
) -> None:
    """Move a running instance to the host ``dest`` without stopping it.

    1. Check the destination
    2. Move the VM
    3. Check where it runs
    4. Delete what stayed behind

    With ``block_migration`` its own disks move to another datastore of that host, the one with most
    free space; without, they stay. Volumes and the serial port's log always do. The host must have
    mounted what stays.

    ``post`` is called once after success; so it is where the move was interrupted and made all the
    same, before the interrupt is raised, which says so. ``recover`` is called once if the move
    failed, the VM then running where it was, and the move's error is raised. What the check refuses
    is raised before either is called.

    Raises:
        InstanceNotFound: there is no such instance.
        HostNotFound: there is no host of this name.
        InvalidPowerState: it is not running.
        InvalidState: it is rescued or in the middle of a resize, and its disks were to move.
        MigrationPreCheckFailed: the host cannot take it; the message says why. Nothing was moved.
    """
    with Operation("live_migration") as run:
        move = run(check_destination(engine, vm, dest, block_migration))
        try:
            interrupt = run(move_vm(engine.session, vm, move))
            run(check_arrival(vm, move))
        except BaseException as failure:
            with noting(failure, "tell of the failed migration"):
                recover()
            raise
        if move.loose_disks:
            run(delete_left_behind(engine.session, vm, move))
    post()
    if interrupt is not None:
        interrupt.add_note(f"{called(vm)} was moved all the same, and runs on {move.host.name}.")
        raise interrupt


@step("Check the destination")
def check_destination(
    engine: Engine, vm: VirtualMachine, dest: str, block_migration: bool
) -> Reversible[Move]:
    """Refuse what cannot succeed, before anything is moved."""
    yield _plan_move(engine, vm, dest, block_migration)


def _plan_move(engine: Engine, vm: VirtualMachine, dest: str, block_migration: bool) -> Move:
    inventory = engine.session.inventory
    host = next((h for h in inventory.hosts() if h.name == dest), None)
    if host is None:
        raise HostNotFound(dest, [h.name for h in inventory.hosts()])
    hardware, found = vm.hardware_and(_HOST, _DATASTORES, _NETWORKS)
    files = hardware.files
    name = called(vm)
    if files.power_state is not PowerState.POWERED_ON:
        state = VmState(files.power_state, files.extra_config)
        raise InvalidPowerState(must_run(name, state))
    if _moid(found.get(_HOST)) == host.moid and not block_migration:
        raise MigrationPreCheckFailed(f"{name} runs on {dest} already.")
    if not host.connected or host.in_maintenance:
        why = "in maintenance" if host.connected else "not connected"
        raise MigrationPreCheckFailed(f"The host {dest} is {why}.")
    there = {_moid(one) for one in found.get(_NETWORKS) or ()}
    missing = [n.name for n in inventory.networks() if n.moid in there and host.moid not in n.hosts]
    if missing:
        raise MigrationPreCheckFailed(f"The host {dest} has no network {', '.join(missing)}.")
    cluster = next((c for c in inventory.clusters() if c.moid == host.cluster), None)
    if cluster is None:
        raise MigrationPreCheckFailed(f"The cluster of the host {dest} is unknown.")
    present = {_moid(one) for one in found.get(_DATASTORES) or ()}
    datastores = {d.name: d for d in inventory.datastores() if d.moid in present}
    if not block_migration:
        _require_mounted(datastores.values(), host, "Migrate with the disks (block migration).")
        return Move(host=host, cluster=cluster, datastore=None)
    # What they note of disks names the datastore where those are.
    refuse_rescued(name, files.extra_config)
    refuse_resized(name, files.extra_config)
    volumes = {
        disk.key: datastores[_datastore_of(disk.file_name)]
        for disk in files.disks
        if is_volume(files, disk) and _datastore_of(disk.file_name) in datastores
    }
    _require_mounted(volumes.values(), host, "Volumes stay where they are: detach them first.")
    for staying, what in ((files.serial_files, "serial log"), (files.iso_files, "config drive")):
        where = {_datastore_of(each) for each in staying} & datastores.keys()
        _require_mounted(
            [datastores[each] for each in where], host, f"The {what} cannot be moved off it."
        )
    own = {_datastore_of(disk.file_name) for disk in files.disks if disk.key not in volumes}
    own.add(_datastore_of(files.vmx))
    return Move(
        host=host,
        cluster=cluster,
        datastore=_target_datastore(engine, host, cluster, own),
        volumes=tuple((key, datastore.moref) for key, datastore in volumes.items()),
        loose_disks=loose_disks(files),
    )


def _datastore_of(file_name: str) -> str:
    return DatastorePath.parse(file_name).datastore


def _require_mounted(datastores: Iterable[DatastoreInfo], host: HostInfo, advice: str) -> None:
    for datastore in datastores:
        mounts = datastore.hosts_read_write
        if mounts and host.moid not in mounts:
            raise MigrationPreCheckFailed(
                f"The host {host.name} has not mounted {datastore.name}. {advice}"
            )


def _target_datastore(
    engine: Engine, host: HostInfo, cluster: ClusterInfo, own: set[str]
) -> DatastoreInfo:
    """The roomiest other datastore of the host that passes the filters of `spawn`."""
    settings = replace(engine.settings, datastore=None)
    wanted = WantedSpace(settings=settings, hosts=(host,), needed_bytes=0)
    others = [
        d
        for d in engine.session.inventory.datastores()
        if d.moid in cluster.datastores
        and d.name not in own
        and not any(passes(d, wanted) for passes in FILTERS)
    ]
    if not others:
        raise MigrationPreCheckFailed(
            f"The host {host.name} has no other datastore that the disks could move to."
        )
    return roomiest(others, wanted.reserved)


def _moid(moref: Moref | None) -> str:
    return str(moref._moId) if moref is not None else ""


@step("Move the VM")
def move_vm(session: Session, vm: VirtualMachine, move: Move) -> Reversible[BaseException | None]:
    """Move it in one task; if that fails the server leaves the VM where it was.

    Where the answer got lost, or who waited for it was interrupted, the VM itself tells whether it
    has moved. Gives what interrupted a move that was made all the same.
    """
    interrupt: BaseException | None = None
    try:
        vm.relocate(
            relocation(
                host=move.host.moref,
                pool=move.cluster.resource_pool,
                datastore=move.datastore.moref if move.datastore else None,
                staying=move.volumes,
            )
        )
    except _IN_DOUBT as lost:
        arrived = False
        with noting(lost, "find out where the VM is"):
            wait_for_recent_tasks(session, vm.moref)
            arrived = _is_there(vm.read(_HOST, _DATASTORES), move)
        if not arrived:
            raise
        interrupt = None if isinstance(lost, ConnectionLost | TimedOut) else lost
    yield interrupt


def _is_there(found: Mapping[str, Any], move: Move) -> bool:
    present = {_moid(one) for one in found.get(_DATASTORES) or ()}
    has_disks = move.datastore is None or move.datastore.moid in present
    return _moid(found.get(_HOST)) == move.host.moid and has_disks


@step("Check where it runs")
def check_arrival(vm: VirtualMachine, move: Move) -> Reversible[None]:
    """Believe the VM, not the task; the task, if the VM cannot be asked."""
    try:
        found = vm.read(_HOST, _DATASTORES)
    except VMOpsError as failure:
        log.warning("%s was moved, but cannot be asked where it is: %s", called(vm), failure)
    else:
        if not _is_there(found, move):
            raise NoSuitableHost(f"{called(vm)} did not arrive on {move.host.name}.")
    yield


@step("Delete what stayed behind")
def delete_left_behind(session: Session, vm: VirtualMachine, move: Move) -> Reversible[None]:
    """Delete the old copy of a linked clone's parent, which no other VM was made from.

    The VM runs at its destination: that this fails is told, but does not fail the migration. Before
    that it is tried again, since nobody else knows of the copy.
    """
    for wait_s in (*_WAITS_S, None):
        try:
            _delete_unused(session, vm, move.loose_disks)
            break
        except VMOpsError as failure:
            if wait_s is None:
                log.warning(
                    "%s was moved, but disks may have stayed behind: %s", called(vm), failure
                )
                break
            log.info("%s: trying again to delete what stayed behind: %s", called(vm), failure)
            time.sleep(wait_s)
    yield


def _delete_unused(session: Session, vm: VirtualMachine, disks: frozenset[str]) -> None:
    """Delete those of the disks that the VM does not use, and their folder if it is empty then."""
    attached = vm.files().disks
    used = {file for disk in attached for file in (disk.file_name, *disk.parents)}
    left = [DatastorePath.parse(file) for file in sorted(disks - used)]
    for path in left:
        session.virtual_disk_manager.delete(path, missing_ok=True)
    for folder in {path.parent for path in left}:
        with contextlib.suppress(FileNotFound):
            if not session.browse(folder):
                session.file_manager.delete(folder, missing_ok=True)
