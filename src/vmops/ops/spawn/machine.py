"""The machine of a new instance: created without disks, and taken back."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING

from vmops import in_flight
from vmops.errors import UNANSWERED, DuplicateName, ManagedObjectNotFound, VMOpsError
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.made_files import MadeFiles, refuse_taken_folder
from vmops.ops.engine.placement import Placement
from vmops.ops.guard.vm_marks import leased
from vmops.ops.instances.destroy import remove
from vmops.ops.spawn.network_info import network_settings
from vmops.ops.spawn.request import SpawnRequest
from vmops.specs import nics
from vmops.specs import virtual_machine as vm_specs
from vmops.specs.annotation import annotation
from vmops.steps import Reversible, noting, step
from vmops.vsphere.live.records import NetworkInfo
from vmops.vsphere.objects.folder import Folder
from vmops.vsphere.objects.lookup import find_vm_on_server
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.wire.moref import Moref

if TYPE_CHECKING:
    from vmops.specs.wire_types import ConfigSpec

SERIAL_LOG = "serial.log"
_STATE = "runtime.connectionState"
_FILE = "summary.config.vmPathName"


@step("Create the VM")
def create_vm(
    engine: Engine, request: SpawnRequest, place: Placement, folder: DatastorePath, made: MadeFiles
) -> Reversible[VirtualMachine]:
    """Create the VM without disks, marked as being spawned, in a folder that nobody had.

    From here on it is held for that; see `vmops.in_flight`.
    """
    refuse_taken_folder(engine.session, folder)
    mark, since = in_flight.mark("spawn"), in_flight.owners_clock()
    project = request.instance.project_id or request.requester.project_id
    vms = engine.folders.of(place.datacenter, project)
    try:
        with engine.vnc_ports.reserve() as vnc:
            spec = vm_specs.new_machine(
                _new_machine(engine, request, place, folder, {**vnc, extra_config.OPERATION: mark})
            )
            try:
                vm = _create(engine, vms, spec, place)
            except ManagedObjectNotFound:
                # Somebody may have removed the project's folder since it was last seen.
                other = engine.folders.after_loss(place.datacenter, project, vms)
                if other is None:
                    raise
                vms = other
                vm = _create(engine, vms, spec, place)
    except UNANSWERED as lost:
        with noting(lost, "make sure that nothing was created"):
            _remove_unanswered(engine, request, vms)
        raise
    with leased(vm, extra_config.OPERATION, "spawn", mark, since):
        yield vm
        _take_back(engine, vm, made)


def _create(engine: Engine, vms: Folder, spec: ConfigSpec, place: Placement) -> VirtualMachine:
    try:
        return vms.create_vm(spec, place.cluster.resource_pool)
    except DuplicateName as taken:
        _tell_what_has_it(engine, taken)
        raise


def _tell_what_has_it(engine: Engine, taken: DuplicateName) -> None:
    """Say so if it is a machine that looks like none: its files cannot be read now."""
    if not isinstance(taken.existing, Moref):
        return
    with contextlib.suppress(VMOpsError):  # it may be another thing, which has no such property
        found = engine.session.properties.read_one(taken.existing, _STATE, _FILE)
        if found.get(_STATE) not in {None, "connected"}:
            taken.add_note(
                f"A virtual machine has it that is {found[_STATE]}: {found.get(_FILE)}."
                " Bring its datastore or host back, or unregister it."
            )


def _take_back(engine: Engine, vm: VirtualMachine, made: MadeFiles) -> None:
    """Remove a VM that this spawn created; a change to it may still be under way."""
    with contextlib.suppress(ManagedObjectNotFound):
        wait_for_recent_tasks(engine.session, vm.moref)
        remove(engine.session, vm, destroy_disks=True, spared=made.others)


def _remove_unanswered(engine: Engine, request: SpawnRequest, vms: Folder) -> None:
    """The VM may have been created although no answer came: look, and take it back.

    It is this spawn's if it has this process' mark: another one may have been faster.
    """
    wait_for_recent_tasks(engine.session, vms.moref)
    vm = find_vm_on_server(engine.session, request.instance.uuid)
    if vm is not None and in_flight.owner() in vm.extra_config(extra_config.OPERATION):
        remove(engine.session, vm, destroy_disks=True)


def _new_machine(
    engine: Engine,
    request: SpawnRequest,
    place: Placement,
    folder: DatastorePath,
    own: dict[str, str],
) -> vm_specs.NewMachine:
    properties = request.properties
    image_id = request.image.id if request.image is not None else ""
    return vm_specs.NewMachine(
        instance=request.instance,
        vmx=folder.joined(f"{request.instance.uuid}.vmx"),
        guest_id=properties.guest_id,
        size=request.size,
        hardware=request.hardware,
        managed_by=engine.extension.key(),
        storage_policy=place.storage_policy,
        annotation=annotation(
            request.instance, image_id, request.requester, f"vmops {version('vmops')}"
        ),
        nics=tuple(
            vm_specs.NewNic(
                backing=_backing(network),
                model=vif.model or properties.vif_model,
                mac_address=vif.mac_address,
                interface_id=vif.id,
                allocation=vif.allocation or request.instance.flavor.vif,
            )
            for vif, network in zip(request.vifs, place.networks, strict=True)
        ),
        extra_config={
            **engine.settings.extra_config,
            **_keyboard(engine),
            **_addresses(engine, request),
            **dict(request.extra_config),
            extra_config.IMAGE_ID: image_id,
            **own,
        },
        serial_log=folder.joined(SERIAL_LOG) if engine.settings.serial_log else None,
        serial_service_uri=engine.settings.serial_port_service_uri,
        serial_proxy_uri=engine.settings.serial_port_proxy_uri,
    )


def _keyboard(engine: Engine) -> dict[str, str]:
    delay_s = engine.settings.console_delay_s
    return {extra_config.TYPEMATIC_DELAY: str(round(delay_s * 1_000_000))} if delay_s else {}


def _addresses(engine: Engine, request: SpawnRequest) -> dict[str, str]:
    if not engine.settings.inject_network_info:
        return {}
    return network_settings(request.instance.uuid, request.instance.name, request.vifs)


def _backing(network: NetworkInfo) -> nics.NicBacking:
    return nics.NicBacking(
        kind=network.kind,
        name=network.name,
        portgroup_key=network.portgroup_key,
        switch_uuid=network.switch_uuid,
    )
