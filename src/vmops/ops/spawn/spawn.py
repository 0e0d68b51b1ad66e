"""Spawn: from an image to a running virtual machine."""

from __future__ import annotations

from dataclasses import replace

from vmops import units
from vmops.context import tell
from vmops.errors import InstanceUnacceptable
from vmops.model.datastore_path import DatastorePath
from vmops.model.mac_address import check_given
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.made_files import MadeFiles
from vmops.ops.engine.port_groups import create_port_groups, with_vlan
from vmops.ops.spawn.config_drive import upload_config_drive
from vmops.ops.spawn.disks import (
    attach_disks,
    cached_image,
    cached_iso,
    copy_root_disk,
    new_media,
    root_path,
)
from vmops.ops.spawn.further_disks import boot_from_root, bring_further_disks, has_other_bus
from vmops.ops.spawn.machine import create_vm
from vmops.ops.spawn.place import choose_placement
from vmops.ops.spawn.request import SpawnRequest, is_linked_clone
from vmops.ops.spawn.volumes import OwnAttacher, VolumeAttacher, attach_root_volume, attach_volumes
from vmops.progress import Warned
from vmops.specs.disks import ExtraDisk
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine


def spawn(
    engine: Engine, request: SpawnRequest, attacher: VolumeAttacher | None = None
) -> VirtualMachine:
    """Create a VM from an image and power it on, or leave everything as it was.

    1. Choose where it goes
    2. Create the port groups
    3. Create the VM
    4. Put the image in the datastore's cache
       flat image, not cached:
       4.1. Make a temporary folder
       4.2. Create the disk's metadata
       4.3. Delete its flat file
       4.4. Upload the image in its place
       4.5. Make a copy of the flavor's size
       4.6. Move it into the cache
       sparse image, not cached:
       4.1. Make a temporary folder
       4.2. Upload the sparse image
       4.3. Copy it to a thin disk
       4.4. Delete the sparse file
       4.5. Make a copy of the flavor's size
       4.6. Move it into the cache
       streamOptimized image, not cached:
       4.1. Make a temporary folder
       4.2. Import the image through a lease
       4.3. Move its disk out of the imported VM
       4.4. Make a copy of the flavor's size
       4.5. Move it into the cache
       ISO image, not cached:
       4.1. Make a temporary folder
       4.2. Upload the ISO image
       4.3. Move it into the cache
    5. Copy the image to the root disk
    6. Bring the image's further disks
    7. Attach the root volume
    8. Upload the config drive
    9. Attach the disks
    10. Boot from the root disk
    11. Attach the volumes
    12. Power on

    A copy of the flavor's size is made where the flavor's disk is bigger than the image's and the
    root disk is a linked clone, whose size is its parent's. Step 5 is that of a full clone, step 2
    that of a network which asks for its VLAN's port group to be made where it is missing. A VMDK
    in an OVA archive, and what other formats are converted to, are streamOptimized. An ISO
    image is put into a CD-ROM drive, beside a blank root disk if the flavor has one. An instance
    that boots from a volume has step 7 instead of the steps 4 to 6. The ephemeral disks and the
    swap disk are created in step 9, in the same call, which also puts the config drive into a
    CD-ROM drive. An OVA's further disks come as its first one does, in step 6; step 10 is that of
    disks on a bus that is not the root disk's. What an OVA asks for that is not done is told at the
    beginning. If anything fails, volumes are taken off as they were.

    ``attacher`` attaches the volumes; None is the engine's own way.

    Raises:
        InstanceExists: a VM with this instance UUID is there; it is not touched.
        InstanceUnacceptable: the image's disk is bigger than the flavor's, or the hosts do not know
            its hardware version. Nothing was created.
        StoragePolicyNotFound: the flavor's or the settings' policy does not exist.
        InvalidVlanTag, InvalidVlanPortGroup: a network's port group is there, and another.
        NetworkAdapterNotFound, SwitchNotFound: a host has no place for a network's port group.
        ClusterNotFound: the engine's cluster does not exist.
        NetworkNotFound: an interface's port group is not in the cluster. Nothing was created.
        NetworkAmbiguous: the cluster has several of that name. Nothing was created.
        NoSuitableDatastore: no datastore passes; the error says why for each.
        NoSuitableHost: no host of the cluster is connected and out of maintenance.
        ImageNotAcceptable: the image's file is broken, or not what its store says.
        VolumeNotFound, VolumeInUse: a volume is not there, or attached elsewhere.
        NotSupported: a volume is of a kind that cannot be attached. Nothing was created.
        DuplicateName: the folder has a VM of this name.
        FileAlreadyExists: the instance's folder on the datastore has files that no machine has.
            They stay as they are.
        NoDiskSpace: the datastore became full.
        TransferFailed: the image did not arrive whole.
        ConnectionLost: the server went away; notes on the error name what could not be undone.

    See: vSphere Web Services API, Folder.CreateVM_Task, VirtualMachine.ReconfigVM_Task.
    """
    attacher = attacher or OwnAttacher(engine.session)
    check(request, attacher)
    with Operation("spawn") as do:
        place = do(choose_placement(engine, request, needed_bytes(engine, request)))
        for attachment in request.devices.volumes:
            attacher.look(attachment)
        if with_vlan(request.vifs):
            do(create_port_groups(engine.port_groups, place.cluster, request.vifs))
        vm_folder = DatastorePath(place.datastore.name).joined(request.instance.uuid)
        made = MadeFiles()
        vm = do(create_vm(engine, request, place, vm_folder, made))
        disk = None
        further: tuple[ExtraDisk, ...] = ()
        cdroms: tuple[DatastorePath, ...] = ()
        if (iso := request.iso_image) is not None:
            cdroms += (do(cached_iso(engine, iso, place)),)
        elif request.image is not None:
            disk = do(cached_image(engine, request, request.image, place))
            if not is_linked_clone(engine, request):
                root = root_path(request, vm_folder)
                disk = do(copy_root_disk(engine, request, disk, root, made))
            if request.image.further_disks:
                further = do(bring_further_disks(engine, request, place, vm_folder, made))
        if (volume := request.devices.root_volume) is not None:
            do(attach_root_volume(request, volume, vm, place, attacher))
        if request.config_drive is not None:
            cdroms += (do(upload_config_drive(engine, request.config_drive, vm_folder)),)
        media = new_media(request, vm_folder, disk, further, cdroms)
        media = replace(media, storage_policy=place.storage_policy)
        do(attach_disks(engine, request, vm, media, made))
        if has_other_bus(request.root_adapter, further):
            do(boot_from_root(vm))
        if request.devices.data_volumes:
            do(attach_volumes(engine, request, vm, attacher))
        if request.power_on:
            do(power_on(engine, vm))
    return vm


def check_size(request: SpawnRequest) -> None:
    """Refuse what can never be built.

    Raises:
        InstanceUnacceptable: the image's disk is bigger than the flavor's root disk.
    """
    image, flavor = request.image, request.instance.flavor
    if image is None or request.iso_image is not None:
        return
    capacity = image.capacity_bytes or image.size_bytes
    if flavor.root_gib and capacity > units.gib_to_bytes(flavor.root_gib):
        raise InstanceUnacceptable(
            f"The disk of image {image.name!r} has {units.human_bytes(capacity)},"
            f" more than the flavor's root disk of {flavor.root_gib} GiB."
            f" Take a flavor with at least {units.bytes_to_gib(capacity)} GiB."
        )


def check(request: SpawnRequest, attacher: VolumeAttacher) -> None:
    """Refuse what can never be built, and tell what the image's package asks for and does not get.

    Raises:
        InstanceUnacceptable: see `check_size`.
        InvalidArgument: a NIC cannot have its MAC address.
        NotSupported: a volume is of a kind that cannot be attached.
    """
    check_size(request)
    check_given(vif.mac_address for vif in request.vifs)
    for attachment in request.devices.volumes:
        attacher.check(attachment)
    if request.image is not None and request.image.package is not None:
        for note in request.image.package.notes:
            tell(Warned(text=f"Image {request.image.name!r}: {note}"))


def needed_bytes(engine: Engine, request: SpawnRequest) -> int:
    """What the instance may take on the datastore at first: image, full copy, memory swap file.

    Ephemeral and swap disks are thin: they take nothing at first.
    """
    image, flavor = request.image, request.instance.flavor
    needed = flavor.memory_mib * units.MIB
    if image is None:
        return needed
    needed += image.size_bytes
    if request.iso_image is None and not is_linked_clone(engine, request):
        needed += max(image.capacity_bytes or 0, units.gib_to_bytes(flavor.root_gib))
        needed += sum(disk.capacity_bytes for disk in image.further_disks)
    return needed


@step("Power on")
def power_on(engine: Engine, vm: VirtualMachine) -> Reversible[None]:
    """Start the guest."""
    vm.power_on()
    yield
