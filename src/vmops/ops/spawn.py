"""Spawn: from an image to a running virtual machine."""

from __future__ import annotations

from vmops import units
from vmops.errors import ImageNotAcceptable, InstanceUnacceptable
from vmops.model.datastore_path import DatastorePath
from vmops.ops.config_drive import upload_config_drive
from vmops.ops.engine import Engine
from vmops.ops.spawn_disks import (
    attach_disks,
    cached_image,
    copy_root_disk,
    new_media,
    root_path,
)
from vmops.ops.spawn_machine import create_vm
from vmops.ops.spawn_place import choose_placement
from vmops.ops.spawn_request import SpawnRequest, is_linked_clone
from vmops.progress import Observer
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.virtual_machine import VirtualMachine


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
    5. Upload the config drive
    6. Attach the disks
    7. Power on

    A copy of the flavor's size is made where the flavor's disk is bigger than the image's and the
    root disk is a linked clone, whose size is its parent's. Step 4 is that of a full clone. An
    instance that boots from a volume has neither of the steps 3 and 4. The ephemeral disks and the
    swap disk are created in step 6, in the same call, which also puts the config drive into a
    CD-ROM drive.

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
        place = do(choose_placement(engine, request, needed_bytes(engine, request)))
        vm_folder = DatastorePath(place.datastore.name).joined(request.instance.uuid)
        vm = do(create_vm(engine, request, place, vm_folder, observe))
        disk = None
        cdroms: tuple[DatastorePath, ...] = ()
        if request.image is not None:
            disk = do(cached_image(engine, request, request.image, place, observe))
            if not is_linked_clone(engine, request):
                root = root_path(request, vm_folder)
                disk = do(copy_root_disk(engine, request, disk, root, observe))
        if request.config_drive is not None:
            cdroms = (do(upload_config_drive(engine, request.config_drive, vm_folder)),)
        media = new_media(request, vm_folder, disk, cdroms)
        do(attach_disks(engine, request, vm, media, observe))
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
    if image is None:
        return
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


def needed_bytes(engine: Engine, request: SpawnRequest) -> int:
    """What the instance may take on the datastore at first: image, full copy, memory swap file.

    Ephemeral and swap disks are thin: they take nothing at first.
    """
    image, flavor = request.image, request.instance.flavor
    needed = flavor.memory_mib * units.MIB
    if image is None:
        return needed
    needed += image.size_bytes
    if not is_linked_clone(engine, request):
        needed += max(image.capacity_bytes or 0, units.gib_to_bytes(flavor.root_gib))
    return needed


@step("Power on")
def power_on(engine: Engine, vm: VirtualMachine, observe: Observer) -> Reversible[None]:
    """Start the guest."""
    vm.power_on(observe=observe, deadline_s=engine.settings.task_deadline_s)
    yield
