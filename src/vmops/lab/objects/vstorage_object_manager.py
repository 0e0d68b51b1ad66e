"""The manager of first class disks; its methods are those of vCenter's and of a host's."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_argument, invalid_state
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.kernel.task import start_task
from vmops.lab.machine.devices.disks import disk_files
from vmops.lab.machine.first_class_disks import (
    FOLDER,
    FirstClassDisk,
    FirstClassDisks,
    NoSuchDisk,
    normal_id,
)
from vmops.lab.machine.machine import Machine
from vmops.lab.objects.datastore import Datastore
from vmops.lab.objects.datastore_paths import datastore_path
from vmops.lab.storage.disks import DiskInfo, DiskStore, Provisioning
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDevice
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.task import TaskRun

_vslm = vim.vslm
_MIB = 1024**2
_LARGEST_MIB = 62 * 1024**2
_PROVISIONING: dict[str, Provisioning] = {
    "thin": "thin",
    "lazyZeroedThick": "thick",
    "eagerZeroedThick": "eagerZeroedThick",
}
_WRITTEN = {value: key for key, value in _PROVISIONING.items()}
_FLAGS = {
    "keepAfterDeleteVm": "keep_after_delete_vm",
    "KEEP_AFTER_DELETE_VM": "keep_after_delete_vm",
}


class VStorageObjectManager(ManagedObject):
    """First class disks of a vCenter; a host's manager is the same under another type."""

    wire_type: ClassVar[type[Reference]] = _vslm.vcenter.VStorageObjectManager

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self._disks = FirstClassDisks(kernel.service(DiskStore))

    def CreateDisk_Task(self, spec: _vslm.CreateSpec) -> vim.Task:
        """Make a disk; the result is its VStorageObject.

        Raises (in the task):
            vmodl.fault.InvalidArgument: size, name or provisioning cannot be.
            vmodl.fault.NotSupported: it is to be no file, encrypted, or of a storage policy.
            vim.fault.NoDiskSpace: there is no room.
        """

        async def run(_: TaskRun) -> object:
            return self._shown(*(await self._create(spec)))

        return self._task("createDisk", run)

    async def _create(self, spec: _vslm.CreateSpec) -> tuple[FirstClassDisk, DiskInfo]:
        backing = spec.backingSpec
        if not isinstance(backing, _vslm.CreateSpec.DiskFileBackingSpec) or spec.crypto is not None:
            raise vmodl.fault.NotSupported(msg="First class disks of the lab are plain files.")
        provisioning = _PROVISIONING.get(str(backing.provisioningType or "thin"))
        if provisioning is None or not 0 < spec.capacityInMB <= _LARGEST_MIB or not spec.name:
            raise invalid_argument("spec", "It needs a name, a size and a known provisioning.")
        datastore = self._datastore(backing.datastore)
        disk_id = str(uuid4()) if spec.id is None else self._normal(spec.id)
        folder = str(backing.path or FOLDER)
        with storage_faults(folder):
            path = DatastorePath(datastore, f"{folder}/{disk_id.replace('-', '')}.vmdk")
        disk = FirstClassDisk(
            id=disk_id,
            name=spec.name,
            path=path,
            created=datetime.now(UTC),
            keep_after_delete_vm=bool(spec.keepAfterDeleteVm),
        )

        def create() -> DiskInfo:
            store = self._disks.store
            store.volumes.resolve(path.parent).mkdir(parents=True, exist_ok=True)
            info = store.create(path, spec.capacityInMB * _MIB, provisioning=provisioning)
            try:
                self._disks.save(disk)
            except BaseException:
                store.delete(path)
                raise
            return info

        with storage_faults(path):
            return disk, await self.kernel.blocking(create)

    async def RegisterDisk(
        self,
        path: str,
        name: str | None = None,
        modifyControlFlags: bool | None = None,
        id: vim.vslm.ID | None = None,  # noqa: A002 - the wire's name
    ) -> vim.vslm.VStorageObject:
        """Make a disk that is there a first class disk; it stays where it is.

        Raises:
            vim.fault.AlreadyExists: it is one.
            vim.fault.FileNotFound, vim.fault.InvalidDiskFormat: there is no disk.
        """
        del modifyControlFlags
        place = datastore_path(self.kernel, path, self._some_datacenter())
        disk_id = str(uuid4()) if id is None else self._normal(id)
        disk = FirstClassDisk(
            id=disk_id,
            name=name or re.sub(r"\.vmdk$", "", place.name),
            path=place,
            created=datetime.now(UTC),
            keep_after_delete_vm=True,
        )

        def register() -> DiskInfo:
            info = self._disks.store.inspect(place)
            if self._disks.of_path(place) is not None:
                raise vim.fault.AlreadyExists(name=path, msg=f"{path} is a first class disk.")
            self._disks.save(disk)
            return info

        with storage_faults(path):
            return self._shown(disk, await self.kernel.blocking(register))

    async def RetrieveVStorageObject(
        self,
        id: vim.vslm.ID,  # noqa: A002 - the wire's name
        datastore: Reference,
        diskInfoFlags: Sequence[str] | None = None,
    ) -> vim.vslm.VStorageObject:
        """Describe one.

        Raises:
            vim.fault.NotFound: there is none of that id on the datastore.
        """
        del diskInfoFlags
        return self._shown(*(await self._get(id, datastore)))

    async def RetrieveVStorageObjectState(
        self,
        id: vim.vslm.ID,  # noqa: A002 - the wire's name
        datastore: Reference,
    ) -> _vslm.StateInfo:
        """Say that nothing is pending; see `RetrieveVStorageObject`."""
        await self._get(id, datastore)
        return _vslm.StateInfo(tentative=False)

    async def ListVStorageObject(self, datastore: Reference) -> list[vim.vslm.ID]:
        """List the ids of those on a datastore."""
        name = self._datastore(datastore)
        found = await self.kernel.blocking(self._disks.all, name)
        return [_vslm.ID(id=each.id) for each in found]

    def DeleteVStorageObject_Task(self, id: _vslm.ID, datastore: Reference) -> vim.Task:  # noqa: A002
        """Delete one.

        Raises (in the task):
            vim.fault.NotFound: there is none.
            vim.fault.InvalidState: a machine has it.
        """

        async def run(_: TaskRun) -> None:
            disk, _info = await self._get(id, datastore)
            self._refuse_if_attached(disk)
            with storage_faults(disk.path):
                await self.kernel.blocking(self._disks.delete, disk)

        return self._task("deleteVStorageObject", run)

    def ExtendDisk_Task(self, id: _vslm.ID, datastore: Reference, newCapacityInMB: int) -> vim.Task:  # noqa: A002
        """Make one larger.

        Raises (in the task):
            vim.fault.NotFound: there is none.
            vim.fault.InvalidState: a machine has it; that one's reconfiguration can grow it.
            vim.fault.InvalidDiskFormat: it would shrink.
        """

        async def run(_: TaskRun) -> None:
            disk, _info = await self._get(id, datastore)
            self._refuse_if_attached(disk)
            with storage_faults(disk.path):
                extend = self._disks.store.extend
                await self.kernel.blocking(extend, disk.path, newCapacityInMB * _MIB)

        return self._task("extendDisk", run)

    async def RenameVStorageObject(self, id: vim.vslm.ID, datastore: Reference, name: str) -> None:  # noqa: A002
        """Call one by another name."""
        if not name:
            raise invalid_argument("name", "A disk needs a name.")
        await self._change(id, datastore, lambda disk: replace(disk, name=name))

    async def SetVStorageObjectControlFlags(
        self,
        id: vim.vslm.ID,  # noqa: A002 - the wire's name
        datastore: Reference,
        controlFlags: Sequence[str] | None = None,
    ) -> None:
        """Let one stay when its machine is deleted.

        Raises:
            vmodl.fault.NotSupported: another flag.
        """
        await self._set_flags(id, datastore, controlFlags, value=True)

    async def ClearVStorageObjectControlFlags(
        self,
        id: vim.vslm.ID,  # noqa: A002 - the wire's name
        datastore: Reference,
        controlFlags: Sequence[str] | None = None,
    ) -> None:
        """Take off flags that `SetVStorageObjectControlFlags` has set."""
        await self._set_flags(id, datastore, controlFlags, value=False)

    async def _set_flags(
        self,
        disk_id: vim.vslm.ID,
        datastore: Reference,
        flags: Sequence[str] | None,
        *,
        value: bool,
    ) -> None:
        unknown = [flag for flag in flags or () if flag not in _FLAGS]
        if unknown:
            raise vmodl.fault.NotSupported(msg=f"The lab has no flag '{unknown[0]}'.")
        changes: dict[str, Any] = {_FLAGS[flag]: value for flag in flags or ()}
        await self._change(disk_id, datastore, lambda disk: replace(disk, **changes))

    async def _change(
        self,
        disk_id: vim.vslm.ID,
        datastore: Reference,
        change: Callable[[FirstClassDisk], FirstClassDisk],
    ) -> None:
        disk, _ = await self._get(disk_id, datastore)
        with storage_faults(disk.path):
            await self.kernel.blocking(self._disks.save, change(disk))

    async def _get(
        self, disk_id: vim.vslm.ID, datastore: Reference
    ) -> tuple[FirstClassDisk, DiskInfo]:
        name = self._datastore(datastore)
        with _not_found():
            disk = await self.kernel.blocking(self._disks.get, disk_id.id, name)
        with storage_faults(disk.path):
            return disk, await self.kernel.blocking(self._disks.store.inspect, disk.path)

    def _datastore(self, ref: Reference) -> str:
        return self.kernel.registry.find(ref, Datastore).name

    def _some_datacenter(self) -> Reference:
        found = self.kernel.registry.of_wire_type(vim.Datacenter)
        return next(each.ref for each in found)

    @staticmethod
    def _normal(given: vim.vslm.ID) -> str:
        with _not_found():
            return normal_id(given.id)

    def _refuse_if_attached(self, disk: FirstClassDisk) -> None:
        for vm in self._holders(disk.path):
            raise invalid_state(f"The disk '{disk.name}' is attached to '{vm.name}'.")

    def _holders(self, path: DatastorePath) -> Iterator[Machine]:
        for vm in self.kernel.registry.all(Machine):
            if any(_has(device, path) for device in vm.devices):
                yield vm

    def _shown(self, disk: FirstClassDisk, info: DiskInfo) -> _vslm.VStorageObject:
        holders = [_vslm.ID(id=vm.instance_uuid or "") for vm in self._holders(disk.path)]
        datastore = next(
            each for each in self.kernel.registry.all(Datastore) if each.name == info.path.datastore
        )
        return _vslm.VStorageObject(
            config=_vslm.VStorageObject.ConfigInfo(
                id=_vslm.ID(id=disk.id),
                name=disk.name,
                createTime=disk.created,
                keepAfterDeleteVm=disk.keep_after_delete_vm,
                capacityInMB=info.capacity_bytes // _MIB,
                consumptionType=["disk"] if holders else [],
                consumerId=holders,
                backing=_vslm.BaseConfigInfo.DiskFileBackingInfo(
                    datastore=datastore.ref,
                    filePath=str(disk.path),
                    provisioningType=_WRITTEN[info.provisioning],
                ),
            )
        )

    def _task(self, method: str, run: Callable[[TaskRun], Awaitable[object]]) -> vim.Task:
        return start_task(self, f"VStorageObjectManager.{method}", run)


class HostVStorageObjectManager(VStorageObjectManager):
    """First class disks of a single host, whose methods have names of their own on the wire."""

    wire_type = _vslm.host.VStorageObjectManager
    HostCreateDisk_Task = VStorageObjectManager.CreateDisk_Task
    HostRegisterDisk = VStorageObjectManager.RegisterDisk
    HostExtendDisk_Task = VStorageObjectManager.ExtendDisk_Task
    HostRenameVStorageObject = VStorageObjectManager.RenameVStorageObject
    HostDeleteVStorageObject_Task = VStorageObjectManager.DeleteVStorageObject_Task
    HostRetrieveVStorageObject = VStorageObjectManager.RetrieveVStorageObject
    HostRetrieveVStorageObjectState = VStorageObjectManager.RetrieveVStorageObjectState
    HostListVStorageObject = VStorageObjectManager.ListVStorageObject
    HostSetVStorageObjectControlFlags = VStorageObjectManager.SetVStorageObjectControlFlags
    HostClearVStorageObjectControlFlags = VStorageObjectManager.ClearVStorageObjectControlFlags


def _has(device: VirtualDevice, path: DatastorePath) -> bool:
    return isinstance(device, vim.vm.device.VirtualDisk) and str(path) in disk_files(device)


@contextmanager
def _not_found() -> Iterator[None]:
    try:
        yield
    except NoSuchDisk as error:
        raise vim.fault.NotFound(msg=f"There is no first class disk '{error}'.") from error
