"""Volumes without a volume service: made, listed and deleted by this engine.

They are first class disks where the endpoint has those, else disks of shadow VMs as Cinder makes
them, marked by ``vmops.volume`` in the shadow VM's ``extraConfig``.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmops import units
from vmops.errors import UNANSWERED, AlreadyExists, Invalid, NotFound, NotSupported, VolumeNotFound
from vmops.model.block_devices import Volume, VolumeKind
from vmops.model.datastore_path import DatastorePath, check_file_name
from vmops.model.identity import made_volume_of
from vmops.model.maximums import check_disk
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.own_disks import volume_disk
from vmops.ops.engine.placement import Compliance, pick_datastore
from vmops.ops.volumes.holders import held_by
from vmops.specs.volumes import shadow_vm
from vmops.steps import Operation, Reversible, noting, step
from vmops.vsphere.live.records import ClusterInfo, DatastoreInfo
from vmops.vsphere.objects import vm_files
from vmops.vsphere.objects.first_class_disks import FirstClassDisk, FirstClassDisks
from vmops.vsphere.objects.folder import Folder
from vmops.vsphere.objects.lookup import find_vm_on_server
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmFiles
from vmops.vsphere.session import Session

_PATHS = ("name", *vm_files.PATHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeVolume:
    """A volume, and the instance that has it: "" for both where it is attached to none.

    ``volume`` is what `attach_volume` takes.
    """

    volume: Volume
    name: str
    size_bytes: int
    datastore: str
    path: str
    attached_to: str = ""
    attached_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedVolume:
    """What is to be made. ``kind`` None: what the endpoint can do best; ``datastore`` "": chosen.

    ``storage_policy`` is a name, "" for the datastore's own.
    """

    name: str
    size_bytes: int
    kind: VolumeKind | None = None
    datastore: str = ""
    storage_policy: str = ""

    def __post_init__(self) -> None:
        check_file_name(self.name)
        if self.size_bytes < units.MIB:
            raise Invalid(
                f"A volume of {self.size_bytes} bytes is too small: it has 1 MiB or more."
            )
        check_disk("A volume", self.size_bytes, Invalid)
        if self.kind is VolumeKind.ISCSI:
            raise NotSupported(
                "A volume on an iSCSI target cannot be created here: create it on the target."
            )


def create_volume(engine: Engine, wanted: WantedVolume) -> MadeVolume:
    """Make an empty volume.

    1. Choose where it goes
    2. Create its disk

    Raises:
        AlreadyExists: there is a volume of this name.
        NoSuitableDatastore: no datastore passes; the error says why for each.
        StoragePolicyNotFound: there is no such policy.
        NotSupported: the endpoint has no disks of this kind, or no policies.
        NoDiskSpace: the datastore became full.
    """
    with Operation("create_volume") as run:
        cluster, datastore, profile_id = run(choose_place(engine, wanted))
        disks = FirstClassDisks(engine.session)
        kind = wanted.kind or (VolumeKind.FIRST_CLASS_DISK if disks.is_there else VolumeKind.VMDK)
        if kind is VolumeKind.FIRST_CLASS_DISK:
            return run(create_first_class_disk(disks, wanted, datastore, profile_id))
        return run(create_shadow_vm(engine, wanted, cluster, datastore, profile_id))


@step("Choose where it goes")
def choose_place(
    engine: Engine, wanted: WantedVolume
) -> Reversible[tuple[ClusterInfo, DatastoreInfo, str]]:
    """Choose a datastore of the engine's cluster, as for an instance, and find the policy's id."""
    session = engine.session
    if wanted.name in {there.name for there in list_volumes(session)}:
        raise AlreadyExists(f"There is a volume {wanted.name!r} already.")
    cluster = session.inventory.cluster(engine.cluster_name)
    settings = replace(engine.settings, datastore=wanted.datastore or engine.settings.datastore)
    compliance = None
    if wanted.storage_policy:
        policy = session.storage_policies.named(wanted.storage_policy)
        there = [d for d in session.inventory.datastores() if d.moid in cluster.datastores]
        compliance = Compliance(
            policy=policy, datastores=session.storage_policies.compliant(policy, there)
        )
    datastore = pick_datastore(session.inventory, cluster, settings, 0, Counter(), compliance)
    yield cluster, datastore, compliance.policy.id if compliance is not None else ""


@step("Create its disk")
def create_first_class_disk(
    disks: FirstClassDisks, wanted: WantedVolume, datastore: DatastoreInfo, profile_id: str
) -> Reversible[MadeVolume]:
    """Make a first class disk; after a lost answer none is left."""
    disk_id = str(uuid.uuid4())
    try:
        made = disks.create(
            disk_id, wanted.name, datastore.moref, wanted.size_bytes, profile_id=profile_id
        )
    except UNANSWERED as lost:
        with noting(lost, "make sure that no disk was made"):
            _delete_unanswered(disks, disk_id, wanted.name, datastore)
        raise
    yield _first_class(made.id, wanted.name, made.capacity_bytes, datastore, made.path)
    disks.delete(made.id, datastore.moref)


def _delete_unanswered(
    disks: FirstClassDisks, wanted_id: str, name: str, datastore: DatastoreInfo
) -> None:
    """Delete the disk of our id.

    A server that chose another id has made a disk of this name; that is ours if it is the only one,
    as `choose_place` has seen none.
    """
    there = list(_those_there(disks, datastore))
    found = [disk for disk in there if disk.id == wanted_id]
    if not found and not disks.takes_ids:
        found = [disk for disk in there if disk.name == name]
    if len(found) == 1:
        disks.delete(found[0].id, datastore.moref)


@step("Create its disk")
def create_shadow_vm(
    engine: Engine,
    wanted: WantedVolume,
    cluster: ClusterInfo,
    datastore: DatastoreInfo,
    profile_id: str,
) -> Reversible[MadeVolume]:
    """Make a VM that holds it and is never powered on; after a lost answer none is left."""
    session, volume_id = engine.session, str(uuid.uuid4())
    folder = Folder(session, session.inventory.datacenter(cluster.datacenter).vm_folder)
    spec = shadow_vm(
        wanted.name, volume_id, datastore.name, wanted.size_bytes, profile_id=profile_id
    )
    try:
        vm = folder.create_vm(spec, cluster.resource_pool)
    except UNANSWERED as lost:
        with noting(lost, "make sure that nothing was created"):
            wait_for_recent_tasks(session, folder.moref)
            if (made := find_vm_on_server(session, volume_id)) is not None:
                made.destroy(missing_ok=True)
        raise
    disk = vm.files().disks[0]
    yield MadeVolume(
        volume=Volume(id=volume_id, kind=VolumeKind.VMDK, backing=vm.moid, name=wanted.name),
        name=wanted.name,
        size_bytes=disk.capacity_bytes or wanted.size_bytes,
        datastore=datastore.name,
        path=disk.file_name,
    )
    vm.destroy(missing_ok=True)


def list_volumes(session: Session) -> tuple[MadeVolume, ...]:
    """All volumes that need no volume service, by name: those that are first class disks, and ours.

    Costs one read of all VMs, and one call for each datastore and each first class disk.
    """
    found = session.properties.read_container("VirtualMachine", _PATHS)
    machines = {
        moid: (str(values.get("name", "")), vm_files.files_from(values))
        for moid, values in found.items()
    }
    volumes = [*_first_class_disks(session), *_of_shadow_vms(machines)]
    held = [_with_holder(each, machines) for each in volumes]
    return tuple(sorted(held, key=lambda each: (each.name, each.volume.id)))


def find_volume(session: Session, name_or_id: str) -> MadeVolume:
    """The volume of this name or id; costs what `list_volumes` does.

    Raises:
        VolumeNotFound: there is none; the error names those there are.
        Invalid: several have this name.
    """
    there = list_volumes(session)
    found = [each for each in there if name_or_id in {each.name, each.volume.id}]
    if not found:
        raise VolumeNotFound(name_or_id, [each.name for each in there])
    if len(found) > 1:
        ids = ", ".join(each.volume.id for each in found)
        raise Invalid(f"Several volumes are called {name_or_id!r}. Name one by its id: {ids}.")
    return found[0]


def delete_volume(session: Session, name_or_id: str) -> None:
    """Delete a volume with what is on it.

    1. Find the volume
    2. Delete its disk

    Raises:
        VolumeNotFound: there is no such volume.
        VolumeInUse: an instance has it. Nothing was deleted.
    """
    with Operation("delete_volume") as run:
        made = run(find(session, name_or_id))
        run(delete_disk(session, made))


@step("Find the volume")
def find(session: Session, name_or_id: str) -> Reversible[MadeVolume]:
    """Find it, and refuse one that an instance has."""
    made = find_volume(session, name_or_id)
    if made.attached_to or made.attached_name:
        raise held_by(made.volume, (made.attached_name,))
    yield made


@step("Delete its disk")
def delete_disk(session: Session, made: MadeVolume) -> Reversible[None]:
    """Delete the disk, with the VM that holds it if there is one."""
    if made.volume.kind is VolumeKind.FIRST_CLASS_DISK:
        datastore = session.inventory.datastore(made.datastore)
        FirstClassDisks(session).delete(made.volume.backing, datastore.moref)
    else:
        VirtualMachine.of(session, made.volume.backing).destroy(missing_ok=True)
    yield


def _first_class_disks(session: Session) -> Iterator[MadeVolume]:
    disks = FirstClassDisks(session)
    if not disks.is_there:
        return
    for datastore in session.inventory.datastores():
        if datastore.accessible:
            for disk in _those_there(disks, datastore):
                yield _first_class(disk.id, disk.name, disk.capacity_bytes, datastore, disk.path)


def _those_there(disks: FirstClassDisks, datastore: DatastoreInfo) -> Iterator[FirstClassDisk]:
    """A datastore's disks but those that somebody else deletes while they are asked for."""
    for disk_id in disks.ids(datastore.moref):
        with contextlib.suppress(NotFound):
            yield disks.get(disk_id, datastore.moref)


def _first_class(
    disk_id: str, name: str, size_bytes: int, datastore: DatastoreInfo, path: str
) -> MadeVolume:
    return MadeVolume(
        volume=Volume(
            id=disk_id,
            kind=VolumeKind.FIRST_CLASS_DISK,
            backing=disk_id,
            datastore=datastore.moid,
            name=name,
        ),
        name=name,
        size_bytes=size_bytes,
        datastore=datastore.name,
        path=path,
    )


def _of_shadow_vms(machines: dict[str, tuple[str, VmFiles]]) -> Iterator[MadeVolume]:
    for moid, (name, files) in machines.items():
        volume_id = made_volume_of(files.instance_uuid, files.extra_config)
        if volume_id and files.disks:
            disk = files.disks[0]
            yield MadeVolume(
                volume=Volume(id=volume_id, kind=VolumeKind.VMDK, backing=moid, name=name),
                name=name,
                size_bytes=disk.capacity_bytes,
                datastore=DatastorePath.parse(disk.file_name).datastore,
                path=disk.file_name,
            )


def _with_holder(made: MadeVolume, machines: dict[str, tuple[str, VmFiles]]) -> MadeVolume:
    for name, files in machines.values():
        if volume_disk(files, made.volume.id) is not None:
            return replace(made, attached_to=files.instance_uuid, attached_name=name)
    return made
