"""The further disks of a new instance's image: an OVA has several, which all are its own.

They live and die with the instance, in its folder, as ``image_disk_<n>.vmdk``, by which
`vmops.ops.engine.own_disks` knows them.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from vmops.errors import FileLocked
from vmops.model.controllers import KINDS
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType, Image
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.made_files import MadeFiles
from vmops.ops.engine.own_disks import root_disk
from vmops.ops.engine.placement import Placement
from vmops.ops.spawn.disks import cache_place
from vmops.ops.spawn.request import SpawnRequest, is_linked_clone
from vmops.specs.disks import DESCRIPTOR_ADAPTERS, ExtraDisk, provisioning
from vmops.specs.rescue import boot_from
from vmops.steps import Reversible, noting, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine


@step("Bring the image's further disks")
def bring_further_disks(
    engine: Engine, request: SpawnRequest, place: Placement, folder: DatastorePath, made: MadeFiles
) -> Reversible[tuple[ExtraDisk, ...]]:
    """Have them in the cache, where they stay, and copy them where the root disk is a copy."""
    image, copied = request.image, list[DatastorePath]()
    disks = engine.session.virtual_disk_manager
    further = _further_disks(image, request, folder) if image is not None else []
    try:
        for number, disk in enumerate(further):
            if image is None or not image.further_disks[number].file:
                continue  # a blank one comes into being by being attached
            cached = engine.cache.fetch(_part(image, number + 1, disk), cache_place(place), 0)
            if is_linked_clone(engine, request):
                further[number] = replace(disk, parent=cached.path)
                continue
            further[number] = replace(disk, is_there=True)
            copied.append(disk.path)
            layout = provisioning(request.properties.disk_type)
            with made.making(disk.path):
                disks.copy(cached.path, disk.path, layout, DESCRIPTOR_ADAPTERS[disk.adapter])
    except BaseException as first:
        with noting(first, "delete the copies of the image's further disks"):
            _delete(engine, made.own(copied))
        raise
    yield tuple(further)
    _delete(engine, copied)


def _delete(engine: Engine, paths: list[DatastorePath]) -> None:
    for path in paths:
        with contextlib.suppress(FileLocked):  # attached, and the VM is on: it goes with the VM
            engine.session.virtual_disk_manager.delete(path, missing_ok=True)


def _further_disks(image: Image, request: SpawnRequest, folder: DatastorePath) -> list[ExtraDisk]:
    return [
        ExtraDisk(
            path=folder.joined(f"image_disk_{number}.vmdk"),
            capacity_bytes=told.capacity_bytes,
            adapter=told.adapter or request.root_adapter,
        )
        for number, told in enumerate(image.further_disks, start=1)
    ]


def _part(image: Image, number: int, disk: ExtraDisk) -> Image:
    """A further disk of an image, as an image of its own."""
    properties = replace(image.properties, adapter_type=disk.adapter)
    return replace(image, part=number, capacity_bytes=disk.capacity_bytes, properties=properties)


def has_other_bus(root: AdapterType, further: tuple[ExtraDisk, ...]) -> bool:
    """Whether a disk is on a bus that firmware may look at before that of the root disk."""
    return any(KINDS[disk.adapter].word != KINDS[root].word for disk in further)


@step("Boot from the root disk")
def boot_from_root(vm: VirtualMachine) -> Reversible[None]:
    """Name it in the boot order: which bus comes first is the firmware's choice otherwise."""
    vm.reconfigure(boot_from(root_disk(vm.hardware(), vm.moid).key, {}))
    yield
