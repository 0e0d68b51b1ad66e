"""Spawn: from an image to a running virtual machine."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

from vmops import in_flight, units
from vmops.errors import (
    UNANSWERED,
    FileLocked,
    ImageNotAcceptable,
    InstanceExists,
    InstanceUnacceptable,
    ManagedObjectNotFound,
)
from vmops.images.cache import CachedImage, CachePlace
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import Image
from vmops.model.instance import Instance, Vif
from vmops.ops.destroy import remove
from vmops.ops.engine import Engine
from vmops.ops.network_info import network_settings
from vmops.ops.placement import Placement, find_networks, pick_datastore
from vmops.progress import Observer
from vmops.specs import extra_config, nics
from vmops.specs import virtual_machine as vm_specs
from vmops.specs.disks import DESCRIPTOR_ADAPTERS, RootDisk, provisioning
from vmops.steps import Operation, Reversible, noting, step
from vmops.vsphere.folder import Folder
from vmops.vsphere.inventory_types import NetworkInfo
from vmops.vsphere.lookup import find_vm_on_server
from vmops.vsphere.recent_tasks import settle
from vmops.vsphere.virtual_machine import VirtualMachine

log = logging.getLogger(__name__)

SERIAL_LOG = "serial.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRequest:
    """What to spawn."""

    instance: Instance
    image: Image
    vifs: tuple[Vif, ...] = ()
    linked_clone: bool | None = None
    """None: the image's property decides, then the engine's setting."""
    power_on: bool = True
    extra_config: tuple[tuple[str, str], ...] = ()


def spawn(engine: Engine, request: SpawnRequest, observe: Observer) -> VirtualMachine:
    """Create a VM from an image and power it on, or leave everything as it was.

    1. Choose where it goes
    2. Create the VM
    3. Put the image in the datastore's cache
       flat image, not cached:
       3.1. Make a temporary folder
       3.2. Create the disk's metadata
       3.3. Delete its flat file
       3.4. Upload the image in its place
       3.5. Make a copy of the flavor's size
       3.6. Move it into the cache
       sparse image, not cached:
       3.1. Make a temporary folder
       3.2. Upload the sparse image
       3.3. Copy it to a thin disk
       3.4. Delete the sparse file
       3.5. Make a copy of the flavor's size
       3.6. Move it into the cache
       streamOptimized image, not cached:
       3.1. Import the image through a lease
       3.2. Make a temporary folder
       3.3. Move its disk out of the imported VM
       3.4. Make a copy of the flavor's size
       3.5. Move it into the cache
    4. Copy the image to the root disk
    5. Attach the root disk
    6. Power on

    A copy of the flavor's size is made where the flavor's disk is bigger than the image's and the
    root disk is a linked clone, whose size is its parent's. Step 4 is that of a full clone.

    Raises:
        InstanceExists: a VM with this instance UUID is there; it is not touched.
        InstanceUnacceptable: the image's disk is bigger than the flavor's. Nothing was created.
        ClusterNotFound: the engine's cluster does not exist.
        NetworkNotFound: an interface's port group is not in the cluster. Nothing was created.
        NoSuitableDatastore: no datastore passes; the error says why for each.
        NoSuitableHost: no host of the cluster is connected and out of maintenance.
        ImageNotAcceptable: the image's file is broken, or not what its store says.
        DuplicateName: the folder has a VM of this name.
        NoDiskSpace: the datastore became full.
        TransferFailed: the image did not arrive whole.
        ConnectionLost: the server went away; notes on the error name what could not be undone.

    See: vSphere Web Services API, Folder.CreateVM_Task, VirtualMachine.ReconfigVM_Task.
    """
    check_size(request)
    with Operation("spawn", observe) as do:
        place = do(choose_placement(engine, request))
        vm_folder = DatastorePath(place.datastore.name).joined(request.instance.uuid)
        vm = do(create_vm(engine, request, place, vm_folder, observe))
        image = do(cached_image(engine, request, place, observe))
        root = vm_folder.joined(f"{request.instance.uuid}.vmdk")
        if not is_linked_clone(engine, request):
            image = do(copy_root_disk(engine, request, image, root, observe))
        do(attach_root_disk(engine, request, vm, image, root, observe))
        if request.power_on:
            do(power_on(engine, vm, observe))
    return vm


def check_size(request: SpawnRequest) -> None:
    """Refuse what can never be built.

    Raises:
        InstanceUnacceptable: the image's disk is bigger than the flavor's root disk.
        ImageNotAcceptable: the image is no VMDK.
    """
    image, flavor = request.image, request.instance.flavor
    if image.disk_format != "vmdk":
        raise ImageNotAcceptable(
            f"Image {image.name!r} has disk format {image.disk_format}; vSphere takes vmdk."
        )
    capacity = image.capacity_bytes or image.size_bytes
    if flavor.root_gib and capacity > units.gib_to_bytes(flavor.root_gib):
        raise InstanceUnacceptable(
            f"The disk of image {image.name!r} has {units.human_bytes(capacity)},"
            f" more than the flavor's root disk of {flavor.root_gib} GiB."
            f" Take a flavor with at least {units.bytes_to_gib(capacity)} GiB."
        )


def is_linked_clone(engine: Engine, request: SpawnRequest) -> bool:
    """Whether the root disk is a linked clone: the request decides, the image, the settings."""
    for choice in (request.linked_clone, request.image.properties.linked_clone):
        if choice is not None:
            return choice
    return engine.settings.linked_clone


@step("Choose where it goes")
def choose_placement(engine: Engine, request: SpawnRequest) -> Reversible[Placement]:
    """Choose cluster, datastore and port groups; the space is reserved until the spawn ends."""
    uuid = request.instance.uuid
    if (there := find_vm_on_server(engine.session, uuid)) is not None:
        raise InstanceExists(uuid, str(there.read("name").get("name", "")))
    inventory = engine.session.inventory
    cluster = inventory.cluster(engine.cluster_name)
    networks = find_networks(inventory, cluster, request.vifs)
    needed = needed_bytes(engine, request)
    with engine.reservations.choose(
        lambda reserved: pick_datastore(inventory, cluster, engine.settings, needed, reserved),
        needed,
    ) as datastore:
        yield Placement(
            cluster=cluster,
            datacenter=inventory.datacenter(cluster.datacenter),
            datastore=datastore,
            networks=networks,
        )


def needed_bytes(engine: Engine, request: SpawnRequest) -> int:
    """What the instance may take on the datastore at first: image, full copy, memory swap file."""
    image, flavor = request.image, request.instance.flavor
    needed = image.size_bytes + flavor.memory_mib * units.MIB
    if not is_linked_clone(engine, request):
        needed += max(image.capacity_bytes or 0, units.gib_to_bytes(flavor.root_gib))
    return needed


@step("Create the VM")
def create_vm(
    engine: Engine,
    request: SpawnRequest,
    place: Placement,
    folder: DatastorePath,
    observe: Observer,
) -> Reversible[VirtualMachine]:
    """Create the VM without disks, marked as being spawned."""
    vms = Folder(engine.session, place.datacenter.vm_folder)
    try:
        with engine.vnc_ports.reserve() as vnc:
            vm = vms.create_vm(
                vm_specs.new_machine(_new_machine(engine, request, place, folder, vnc)),
                place.cluster.resource_pool,
                observe=observe,
                deadline_s=engine.settings.task_deadline_s,
            )
    except UNANSWERED as lost:
        with noting(lost, "make sure that nothing was created"):
            _remove_unanswered(engine, request, vms)
        raise
    yield vm
    _take_back(engine, vm, observe)


def _take_back(engine: Engine, vm: VirtualMachine, observe: Observer) -> None:
    """Remove a VM that this spawn created; a change to it may still be under way."""
    with contextlib.suppress(ManagedObjectNotFound):
        settle(engine.session, vm.moref)
        remove(engine.session, vm, destroy_disks=True, observe=observe)


def _remove_unanswered(engine: Engine, request: SpawnRequest, vms: Folder) -> None:
    """The VM may have been created although no answer came: look, and take it back."""
    settle(engine.session, vms.moref)
    vm = find_vm_on_server(engine.session, request.instance.uuid)
    if vm is not None:
        remove(engine.session, vm, destroy_disks=True)


def _new_machine(
    engine: Engine,
    request: SpawnRequest,
    place: Placement,
    folder: DatastorePath,
    vnc: dict[str, str],
) -> vm_specs.NewMachine:
    properties = request.image.properties
    return vm_specs.NewMachine(
        instance=request.instance,
        vmx=folder.joined(f"{request.instance.uuid}.vmx"),
        guest_id=properties.guest_id,
        firmware=properties.firmware,
        nics=tuple(
            vm_specs.NewNic(
                backing=_backing(network),
                model=vif.model or properties.vif_model,
                mac_address=vif.mac_address,
                interface_id=vif.id,
            )
            for vif, network in zip(request.vifs, place.networks, strict=True)
        ),
        extra_config={
            **engine.settings.extra_config,
            **vnc,
            **_addresses(engine, request),
            **dict(request.extra_config),
            extra_config.IMAGE_ID: request.image.id,
            extra_config.OPERATION: in_flight.mark("spawn"),
        },
        serial_log=folder.joined(SERIAL_LOG) if engine.settings.serial_log else None,
    )


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


@step("Put the image in the datastore's cache")
def cached_image(
    engine: Engine, request: SpawnRequest, place: Placement, observe: Observer
) -> Reversible[CachedImage]:
    """Have the image on the datastore; a cached image stays there, whatever becomes of this VM."""
    root_gib = request.instance.flavor.root_gib
    yield engine.cache.fetch(
        request.image,
        CachePlace(
            datastore=place.datastore.name,
            datastore_moref=place.datastore.moref,
            vm_folder=place.datacenter.vm_folder,
            resource_pool=place.cluster.resource_pool,
        ),
        root_gib if is_linked_clone(engine, request) else 0,
        observe,
    )


@step("Copy the image to the root disk")
def copy_root_disk(
    engine: Engine,
    request: SpawnRequest,
    image: CachedImage,
    root: DatastorePath,
    observe: Observer,
) -> Reversible[CachedImage]:
    """Copy the cached disk into the VM's folder, as big as the flavor says."""
    disks, properties = engine.session.virtual_disk_manager, request.image.properties
    wanted = max(image.capacity_bytes, units.gib_to_bytes(request.instance.flavor.root_gib))
    try:
        # Without a wanted type a copy is preallocated, whatever its source is.
        disks.copy(
            image.path,
            root,
            provisioning(properties.disk_type),
            DESCRIPTOR_ADAPTERS[properties.adapter_type],
            observe=observe,
        )
        if wanted > image.capacity_bytes:
            disks.extend(root, wanted, observe=observe)
    except BaseException as first:
        with noting(first, f"delete {root}"):
            disks.delete(root, missing_ok=True)
        raise
    yield CachedImage(path=root, capacity_bytes=wanted)
    with contextlib.suppress(FileLocked):  # attached, and the VM is on: it goes with the VM
        disks.delete(root, missing_ok=True)


@step("Attach the root disk")
def attach_root_disk(
    engine: Engine,
    request: SpawnRequest,
    vm: VirtualMachine,
    image: CachedImage,
    root: DatastorePath,
    observe: Observer,
) -> Reversible[None]:
    """Attach the disk, and take off the mark of the spawn: the instance is whole from here on."""
    linked = image.path != root
    disk = RootDisk(
        path=root,
        capacity_bytes=image.capacity_bytes,
        adapter=request.image.properties.adapter_type,
        disk_type=request.image.properties.disk_type,
        parent=image.path if linked else None,
    )
    vm.reconfigure(
        vm_specs.attach(disk, {extra_config.OPERATION: ""}),
        observe=observe,
        deadline_s=engine.settings.task_deadline_s,
    )
    yield


@step("Power on")
def power_on(engine: Engine, vm: VirtualMachine, observe: Observer) -> Reversible[None]:
    """Start the guest."""
    vm.power_on(observe=observe, deadline_s=engine.settings.task_deadline_s)
    yield
