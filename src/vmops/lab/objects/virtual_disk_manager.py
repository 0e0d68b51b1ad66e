"""VirtualDiskManager: virtual disks of datastores by name.

What it does not have (fragmentation, raw devices, encryption) answers NotSupported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import Literal, cast

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.objects.datastore_paths import datastore_path, datastores_of, source_and_target
from vmops.lab.objects.file_manager import thread_progress
from vmops.lab.operations.disk_holds import disk_holds
from vmops.lab.operations.files_in_use import files_in_use
from vmops.lab.operations.journal import Work, journal
from vmops.lab.storage.consolidating import children
from vmops.lab.storage.datastore_files import find
from vmops.lab.storage.descriptor import geometry
from vmops.lab.storage.disks import Adapter, DiskInfo, DiskStore, Provisioning
from vmops.lab.storage.errors import DiskHasChildren, FileExists, InvalidDisk
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.uuids import uuid_digits

_PROVISIONING: dict[str, Provisioning] = {
    "thin": "thin",
    "preallocated": "thick",
    "thick": "eagerZeroedThick",
    "eagerZeroedThick": "eagerZeroedThick",
}
"""vim.VirtualDiskManager.VirtualDiskType; ``thick`` is "allocated and zeroed" in the reference."""
_OTHER_TYPES = frozenset(vim.VirtualDiskManager.VirtualDiskType.values) - frozenset(_PROVISIONING)
_ADAPTERS = ("busLogic", "lsiLogic", "ide")

_Change = Callable[[DiskStore, Callable[[float], None]], None]
_Held = Literal["read", "change"]


class VirtualDiskManager(ManagedObject):
    """The service's one VirtualDiskManager. Names are resolved as in FileManager."""

    wire_type = vim.VirtualDiskManager

    def CreateVirtualDisk_Task(
        self,
        name: str,
        datacenter: Reference | None = None,
        spec: vim.VirtualDiskManager.VirtualDiskSpec | None = None,
    ) -> vim.Task:
        """Create a disk of a FileBackedVirtualDiskSpec; the result is its name.

        Raises:
            vmodl.fault.NotSupported: the spec is of another kind, or of a disk type that is
                none of a flat disk's.
            vmodl.fault.InvalidArgument: unknown adapter or disk type, or no capacity.
            vim.fault.FileAlreadyExists, FileNotFound, NoDiskSpace (in the task).
        """
        path = datastore_path(self.kernel, name, datacenter)
        if not isinstance(spec, vim.VirtualDiskManager.FileBackedVirtualDiskSpec):
            raise vmodl.fault.NotSupported(msg="Only disks backed by files can be created.")
        if spec.capacityKb <= 0:
            raise invalid_argument("spec.capacityKb", "It must be above zero.")
        provisioning, adapter = _disk_kind(spec, "spec")

        def create(store: DiskStore, progress: Callable[[float], None]) -> None:
            store.create(
                path,
                spec.capacityKb * 1024,
                provisioning=provisioning,
                adapter=adapter,
                progress=progress,
            )

        held: dict[DatastorePath, _Held] = {path: "change"}
        return self._start(
            "createVirtualDisk", create, held, result=name, note=lambda work: work.disk_comes(path)
        )

    def CopyVirtualDisk_Task(
        self,
        sourceName: str,
        sourceDatacenter: Reference | None = None,
        destName: str = "",
        destDatacenter: Reference | None = None,
        destSpec: vim.VirtualDiskManager.VirtualDiskSpec | None = None,
        force: bool | None = None,
    ) -> vim.Task:
        """Copy a disk, converting it; a delta is flattened.

        Without a spec the copy is preallocated with a BusLogic adapter, as the reference says.
        Copying a disk to itself does nothing.

        Raises:
            vim.fault.FileAlreadyExists, FileNotFound, FileLocked, NoDiskSpace,
            vim.fault.InvalidDiskFormat (in the task).
        """
        source, target = source_and_target(
            self.kernel, sourceName, sourceDatacenter, destName, destDatacenter, "destDatacenter"
        )
        provisioning: Provisioning = "thick"
        adapter: Adapter = "busLogic"
        if destSpec is not None:
            provisioning, adapter = _disk_kind(destSpec, "destSpec")

        def copy(store: DiskStore, progress: Callable[[float], None]) -> None:
            if source == target:
                return
            store.copy(
                source,
                target,
                provisioning=provisioning,
                adapter=adapter,
                force=bool(force),
                progress=progress,
            )

        held: dict[DatastorePath, _Held] = {target: "change", source: "read"}
        return self._start("copyVirtualDisk", copy, held, note=lambda work: work.disk_comes(target))

    def MoveVirtualDisk_Task(
        self,
        sourceName: str,
        sourceDatacenter: Reference | None = None,
        destName: str = "",
        destDatacenter: Reference | None = None,
        force: bool | None = None,
        profile: object = None,
    ) -> vim.Task:
        """Move a disk with its data, also to another datastore. ``profile`` has no effect here.

        Raises:
            vim.fault.FileAlreadyExists, FileNotFound, FileLocked, NoDiskSpace (in the task).
        """
        source, target = source_and_target(
            self.kernel, sourceName, sourceDatacenter, destName, destDatacenter, "destDatacenter"
        )

        def move(store: DiskStore, progress: Callable[[float], None]) -> None:
            if source != target:
                store.move(source, target, force=bool(force), progress=progress)

        held: dict[DatastorePath, _Held] = {target: "change", source: "change"}
        return self._start(
            "moveVirtualDisk", move, held, note=lambda work: work.disk_moves(source, target)
        )

    def DeleteVirtualDisk_Task(self, name: str, datacenter: Reference | None = None) -> vim.Task:
        """Delete a disk: descriptor and data, not its parents.

        Raises:
            vim.fault.FileNotFound, FileLocked, InvalidDiskFormat (in the task).
        """
        path = datastore_path(self.kernel, name, datacenter)

        def delete(store: DiskStore, _: Callable[[float], None]) -> None:
            store.delete(path)

        held: dict[DatastorePath, _Held] = {path: "change"}
        return self._start(
            "deleteVirtualDisk",
            delete,
            held,
            cancelable=False,
            note=lambda work: work.disk_goes(path),
        )

    def ExtendVirtualDisk_Task(
        self,
        name: str,
        datacenter: Reference | None = None,
        newCapacityKb: int = 0,
        eagerZero: bool | None = None,
    ) -> vim.Task:
        """Grow a disk.

        Raises:
            vim.fault.FileFault: it would shrink, or snapshots or linked clones stand on it (in the
                task, as the others).
            vim.fault.FileNotFound, FileLocked, NoDiskSpace, InvalidDiskFormat.
        """
        path = datastore_path(self.kernel, name, datacenter)

        def extend(store: DiskStore, _: Callable[[float], None]) -> None:
            capacity = newCapacityKb * 1024
            if capacity < store.inspect(path).capacity_bytes:
                raise vim.fault.FileFault(file=str(path), msg=f"{path} cannot be made smaller.")
            standing = children(store.volumes, path)
            if standing:
                raise DiskHasChildren(path, standing)
            store.extend(path, capacity, eager=bool(eagerZero))

        return self._start("extendVirtualDisk", extend, {path: "change"}, cancelable=False)

    def InflateVirtualDisk_Task(self, name: str, datacenter: Reference | None = None) -> vim.Task:
        """Give a thin disk all its space, filled with zeros."""
        path = datastore_path(self.kernel, name, datacenter)
        return self._start("inflateVirtualDisk", partial(_inflate, path), {path: "change"})

    def EagerZeroVirtualDisk_Task(self, name: str, datacenter: Reference | None = None) -> vim.Task:
        """Zero what was never written of a disk that is not thin.

        Raises:
            vim.fault.InvalidDiskFormat: it is thin (in the task).
        """
        path = datastore_path(self.kernel, name, datacenter)

        def zero(store: DiskStore, progress: Callable[[float], None]) -> None:
            if store.inspect(path).provisioning == "thin":
                raise InvalidDisk(path, "a thin disk is inflated, not zeroed")
            _inflate(path, store, progress)

        return self._start("eagerZeroVirtualDisk", zero, {path: "change"})

    def ZeroFillVirtualDisk_Task(self, name: str, datacenter: Reference | None = None) -> vim.Task:
        """Overwrite all of a disk with zeros; what was on it is lost."""
        path = datastore_path(self.kernel, name, datacenter)

        def wipe(store: DiskStore, progress: Callable[[float], None]) -> None:
            disk = _flat(store, path)
            store.create(
                path,
                disk.capacity_bytes,
                provisioning=disk.provisioning,
                adapter=disk.adapter,
                force=True,
                progress=progress,
            )
            if disk.uuid:
                store.set_uuid(path, disk.uuid)

        return self._start("zeroFillVirtualDisk", wipe, {path: "change"})

    def ShrinkVirtualDisk_Task(
        self, name: str, datacenter: Reference | None = None, copy: bool | None = None
    ) -> vim.Task:
        """Give back the space of a thin disk's zeros; with ``copy`` or without, it is the same.

        Raises:
            vim.fault.InvalidDiskFormat: it is not thin (in the task).
        """
        path = datastore_path(self.kernel, name, datacenter)

        def shrink(store: DiskStore, progress: Callable[[float], None]) -> None:
            if _flat(store, path).provisioning != "thin":
                raise InvalidDisk(path, "only a thin disk can be shrunk")
            _rewrite(path, "thin", store, progress)

        return self._start("shrinkVirtualDisk", shrink, {path: "change"})

    async def QueryVirtualDiskUuid(self, name: str, datacenter: Reference | None = None) -> str:
        """Return a disk's UUID as its descriptor has it: ``60 00 C2 9a .. ..-.. ..``."""
        return (await self._inspect(name, datacenter)).uuid

    async def SetVirtualDiskUuid(
        self, name: str, datacenter: Reference | None = None, uuid: str = ""
    ) -> None:
        """Give a disk another UUID.

        Raises:
            vmodl.fault.InvalidArgument: ``uuid`` has not 32 hexadecimal digits.
            vim.fault.FileNotFound, FileLocked, InvalidDiskFormat.
        """
        path = datastore_path(self.kernel, name, datacenter)
        if uuid_digits(uuid) is None:
            raise invalid_argument("uuid", "It has 32 hexadecimal digits.")
        with storage_faults(path):
            files_in_use(self.kernel).check_changeable(path)
            await self.kernel.blocking(self.kernel.service(DiskStore).set_uuid, path, uuid)

    async def QueryVirtualDiskGeometry(
        self, name: str, datacenter: Reference | None = None
    ) -> vim.host.DiskDimensions.Chs:
        """Return the geometry the BIOS is told."""
        disk = await self._inspect(name, datacenter)
        shape = geometry(disk.capacity_bytes, disk.adapter)
        return vim.host.DiskDimensions.Chs(
            cylinder=shape.cylinders, head=shape.heads, sector=shape.sectors
        )

    async def _inspect(self, name: str, datacenter: Reference | None) -> DiskInfo:
        path = datastore_path(self.kernel, name, datacenter)
        with storage_faults(path):
            return await self.kernel.blocking(self.kernel.service(DiskStore).inspect, path)

    def _start(
        self,
        description: str,
        change: _Change,
        held: dict[DatastorePath, _Held],
        *,
        note: Callable[[Work], None] = lambda _: None,
        result: str | None = None,
        cancelable: bool = True,
    ) -> vim.Task:
        """Run a change on a thread, in a task; ``held`` says what it does to which disk.

        ``note`` notes what the next lab is to end if this one dies.
        """
        store = self.kernel.service(DiskStore)

        async def run(run: TaskRun) -> object:
            with storage_faults(next(iter(held))):
                in_use = files_in_use(self.kernel)
                for path, use in held.items():
                    find(store.volumes, path)
                    check = in_use.check_readable if use == "read" else in_use.check_changeable
                    check(path)
                changed = [path for path, use in held.items() if use == "change"]
                with disk_holds(self.kernel).changing(changed), journal(self.kernel).work() as work:
                    note(work)
                    await self.kernel.blocking(change, store, thread_progress(run))
            for datastore in datastores_of(self.kernel, *held):
                datastore.storage_changed()
            return result

        return start_task(self, f"VirtualDiskManager.{description}", run, cancelable=cancelable)


def _disk_kind(
    spec: vim.VirtualDiskManager.VirtualDiskSpec, parameter: str
) -> tuple[Provisioning, Adapter]:
    if spec.diskType in _OTHER_TYPES:
        raise vmodl.fault.NotSupported(msg=f"Disks of type {spec.diskType} are not supported.")
    if spec.diskType not in _PROVISIONING:
        raise invalid_argument(f"{parameter}.diskType", "There is no such type.")
    if spec.adapterType not in _ADAPTERS:
        raise invalid_argument(f"{parameter}.adapterType", f"It is one of {', '.join(_ADAPTERS)}.")
    return _PROVISIONING[spec.diskType], cast("Adapter", spec.adapterType)


def _flat(store: DiskStore, path: DatastorePath) -> DiskInfo:
    disk = store.inspect(path)
    if disk.kind != "flat":
        raise InvalidDisk(path, f"it is not flat but {disk.kind}")
    return disk


def _inflate(path: DatastorePath, store: DiskStore, progress: Callable[[float], None]) -> None:
    if _flat(store, path).provisioning != "eagerZeroedThick":
        _rewrite(path, "eagerZeroedThick", store, progress)


def _rewrite(
    path: DatastorePath,
    provisioning: Provisioning,
    store: DiskStore,
    progress: Callable[[float], None],
) -> None:
    """Put a copy of a disk in its place that differs only in how its space is allocated."""
    disk = store.inspect(path)
    beside = path.sibling(f"{token_hex(8)}.vmdk")
    try:
        store.copy(path, beside, provisioning=provisioning, progress=progress)
        if disk.uuid:
            store.set_uuid(beside, disk.uuid)
        store.move(beside, path, force=True)
    except FileExists as error:
        raise InvalidDisk(path, "its space cannot be changed now") from error
    except BaseException:
        if find(store.volumes, beside).exists():
            store.delete(beside)
        raise
