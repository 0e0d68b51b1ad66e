"""The disks of a new instance."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from vmops import in_flight, units
from vmops.errors import FileLocked
from vmops.images.cache import CachedImage, CachePlace
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import Image
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.made_files import MadeFiles
from vmops.ops.engine.placement import Placement
from vmops.ops.spawn.request import SpawnRequest, is_linked_clone
from vmops.specs.disks import DESCRIPTOR_ADAPTERS, ExtraDisk, RootDisk, extra_disks, provisioning
from vmops.specs.media import NewMedia, attach
from vmops.specs.places import Places
from vmops.steps import Reversible, noting, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine


@step("Put the image in the datastore's cache")
def cached_image(
    engine: Engine, request: SpawnRequest, image: Image, place: Placement
) -> Reversible[CachedImage]:
    """Have the image on the datastore; a cached image stays there, whatever becomes of this VM."""
    root_gib = request.instance.flavor.root_gib if is_linked_clone(engine, request) else 0
    yield engine.cache.fetch(image, cache_place(place), root_gib)


@step("Put the image in the datastore's cache")
def cached_iso(engine: Engine, image: Image, place: Placement) -> Reversible[DatastorePath]:
    """Have the ISO image on the datastore, for any number of drives."""
    yield engine.cache.fetch_iso(image, cache_place(place))


def cache_place(place: Placement) -> CachePlace:
    """Where a cache is, of a placement."""
    return CachePlace(
        datastore=place.datastore.name,
        datastore_moref=place.datastore.moref,
        vm_folder=place.datacenter.vm_folder,
        resource_pool=place.cluster.resource_pool,
    )


@step("Copy the image to the root disk")
def copy_root_disk(
    engine: Engine, request: SpawnRequest, image: CachedImage, root: DatastorePath, made: MadeFiles
) -> Reversible[CachedImage]:
    """Copy the cached disk into the VM's folder, as big as the flavor says."""
    disks, properties = engine.session.virtual_disk_manager, request.properties
    wanted = max(image.capacity_bytes, units.gib_to_bytes(request.instance.flavor.root_gib))
    try:
        # Without a wanted type a copy is preallocated, whatever its source is.
        with made.making(root):
            disks.copy(
                image.path,
                root,
                provisioning(properties.disk_type),
                DESCRIPTOR_ADAPTERS[properties.adapter_type],
            )
        if wanted > image.capacity_bytes:
            disks.extend(root, wanted)
    except BaseException as first:
        with noting(first, f"delete {root}"):
            for path in made.own([root]):
                disks.delete(path, missing_ok=True)
        raise
    yield CachedImage(path=root, capacity_bytes=wanted)
    with contextlib.suppress(FileLocked):  # attached, and the VM is on: it goes with the VM
        disks.delete(root, missing_ok=True)


def new_media(
    request: SpawnRequest,
    folder: DatastorePath,
    image: CachedImage | None,
    further: Iterable[ExtraDisk],
    cdroms: tuple[DatastorePath, ...],
) -> NewMedia:
    """What is attached to the new VM. ``further`` are the image's other disks.

    ``image`` is the disk that the root disk is made of: itself, or the parent of a linked clone. It
    is None if the instance boots from a volume, or from an ISO image: then the root disk is blank,
    if the flavor has one.

    Raises:
        InvalidName: the instance's folder cannot be named so.
    """
    properties, disk = request.properties, None
    root = root_path(request, folder)
    if image is not None:
        disk = RootDisk(
            path=root,
            capacity_bytes=image.capacity_bytes,
            adapter=properties.adapter_type,
            disk_type=properties.disk_type,
            parent=image.path if image.path != root else None,
            io=request.instance.flavor.disk_io,
        )
    elif request.image is not None and request.instance.flavor.root_gib:
        disk = RootDisk(
            path=root,
            capacity_bytes=units.gib_to_bytes(request.instance.flavor.root_gib),
            adapter=properties.adapter_type,
            disk_type=properties.disk_type,
            io=request.instance.flavor.disk_io,
            is_blank=True,
        )
    return NewMedia(
        root=disk,
        extra=(*further, *extra_disks(folder, request.devices, request.root_adapter)),
        cdroms=cdroms,
    )


def root_path(request: SpawnRequest, folder: DatastorePath) -> DatastorePath:
    """Where the root disk is."""
    return folder.joined(f"{request.instance.uuid}.vmdk")


@step("Attach the disks")
def attach_disks(
    engine: Engine, request: SpawnRequest, vm: VirtualMachine, media: NewMedia, made: MadeFiles
) -> Reversible[None]:
    """Create the disks that are new and attach all of them, in one call.

    Unless volumes follow, this takes the mark of the spawn off: the instance is whole from here on.
    """
    places = None
    if request.image is None:  # its volume is there already
        hardware = vm.hardware()
        places = Places(hardware.controllers, hardware.used)
    settings = {} if request.devices.data_volumes else {extra_config.OPERATION: ""}
    try:
        ending = in_flight.ending() if settings else contextlib.nullcontext()
        with made.making(*media.created), ending:
            vm.reconfigure(attach(media, settings, places))
    except BaseException as first:
        with noting(first, "delete the new disks"):
            _delete_created(engine, made.own(media.created))
        raise
    yield


def _delete_created(engine: Engine, disks: Iterable[DatastorePath]) -> None:
    """Delete what a call has created that failed half-way; what is attached goes with the VM."""
    for disk in disks:
        if engine.session.datastore_files.exists(disk):
            with contextlib.suppress(FileLocked):
                engine.session.virtual_disk_manager.delete(disk, missing_ok=True)
