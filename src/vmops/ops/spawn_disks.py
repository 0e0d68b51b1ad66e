"""The disks of a new instance."""

from __future__ import annotations

import contextlib

from vmops import units
from vmops.errors import FileLocked
from vmops.images.cache import CachedImage, CachePlace
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine import Engine
from vmops.ops.placement import Placement
from vmops.ops.spawn_request import SpawnRequest, is_linked_clone
from vmops.progress import Observer
from vmops.specs import extra_config
from vmops.specs import virtual_machine as vm_specs
from vmops.specs.disks import DESCRIPTOR_ADAPTERS, RootDisk, provisioning
from vmops.steps import Reversible, noting, step
from vmops.vsphere.virtual_machine import VirtualMachine


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
