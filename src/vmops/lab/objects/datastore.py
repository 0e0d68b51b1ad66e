"""A datastore: a directory of this machine, shown as a VMFS volume."""

from __future__ import annotations

import copy
import uuid
from datetime import UTC, datetime

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.datastore_browser import HostDatastoreBrowser
from vmops.lab.storage.datastore_files import remove_partial
from vmops.lab.storage.volumes import Volumes

_TIB = 1024**4
# vSphere 8 Configuration Maximums, VMFS6.
_LARGEST_FILE = 64 * _TIB
_LARGEST_DISK = 62 * _TIB
_NAMESPACE = uuid.UUID("0b3a7f55-8a2f-4c0a-9c0a-5e1f6a7d2c41")


class Datastore(ManagedEntity):
    """A datastore and its browser, whose id is ``datastoreBrowser-<moid>``.

    `name` must be known to the kernel's `Volumes`. Whoever changes which virtual machines have
    files here keeps the property ``vm`` (see `references.link`).
    """

    wire_type = vim.Datastore

    def __init__(self, kernel: Kernel, moid: str, *, name: str, parent: Reference) -> None:
        super().__init__(kernel, moid, name=name, parent=parent)
        self._volumes = kernel.service(Volumes)
        # Derived, so that it stays the same when the lab starts again.
        self._volume_uuid = str(uuid.uuid5(_NAMESPACE, f"{kernel.settings.state_dir}/{name}"))
        self._refreshed = datetime.now(UTC)
        self.browser = HostDatastoreBrowser(kernel, f"datastoreBrowser-{moid}", (self.ref,))
        self.properties.update(browser=self.browser.ref, capability=_capability(), host=[], vm=[])
        self.computed.update(summary=self._summary, info=self._info)
        remove_partial(self._volumes, name)

    @property
    def url(self) -> str:
        """The volume's URL, in the form ESXi gives."""
        return f"ds:///vmfs/volumes/{self._volume_uuid}/"

    def add(self) -> None:
        """Make the datastore and its browser exist."""
        self.kernel.add(self.browser)
        self.kernel.add(self)

    def mount(self, host: Reference) -> None:
        """Show the datastore as mounted read-write on a host, once."""
        mounts = [mount for mount in self.properties["host"] if mount.key != host]
        mount = vim.Datastore.HostMount(
            key=host,
            mountInfo=vim.host.MountInfo(
                path=f"/vmfs/volumes/{self._volume_uuid}",
                accessMode="readWrite",
                mounted=True,
                accessible=True,
            ),
        )
        self.kernel.update(self, {"host": [*mounts, mount]})

    @property
    def is_accessible(self) -> bool:
        """Whether the directory is there."""
        return self._volumes.root(self.name).is_dir()

    def storage_changed(self) -> None:
        """Say that files came or went, so that free space is read again."""
        self._refreshed = datetime.now(UTC)
        self.kernel.touch(self, "summary", "info")

    async def look_again(self) -> None:
        """Publish the free space, and whether the datastore and its machines' files are there."""
        mounts = [copy.deepcopy(mount) for mount in self.properties["host"]]
        for mount in mounts:
            mount.mountInfo.accessible = self.is_accessible
        self.kernel.update(self, {"host": mounts})
        self.storage_changed()
        for vm in self.kernel.registry.present(self.properties["vm"], ManagedEntity):
            await vm.look_again()

    async def RefreshDatastore(self) -> None:
        """Look at the datastore again."""
        await self.look_again()

    async def RefreshDatastoreStorageInfo(self) -> None:
        """Publish the space used by virtual machines as it is now."""
        await self.look_again()

    def Rename_Task(self, newName: str) -> vim.Task:
        """Refuse: the name is that of a directory other things refer to."""
        raise vmodl.fault.NotSupported(msg=f"Datastore '{newName}': renaming is not supported.")

    def _summary(self) -> vim.Datastore.Summary:
        is_there = self.is_accessible
        return vim.Datastore.Summary(
            datastore=self.ref,
            name=self.name,
            url=self.url,
            capacity=self._volumes.capacity(self.name) if is_there else 0,
            freeSpace=self._volumes.free(self.name) if is_there else 0,
            accessible=is_there,
            multipleHostAccess=len(self.properties["host"]) > 1,
            type="VMFS",
            maintenanceMode="normal",
        )

    def _info(self) -> vim.host.VmfsDatastoreInfo:
        is_there = self.is_accessible
        return vim.host.VmfsDatastoreInfo(
            name=self.name,
            url=self.url,
            freeSpace=self._volumes.free(self.name) if is_there else 0,
            maxFileSize=_LARGEST_FILE,
            maxVirtualDiskCapacity=_LARGEST_DISK,
            maxMemoryFileSize=_LARGEST_FILE,
            maxPhysicalRDMFileSize=_LARGEST_FILE,
            maxVirtualRDMFileSize=_LARGEST_DISK,
            timestamp=self._refreshed,
            vmfs=vim.host.VmfsVolume(
                type="VMFS",
                name=self.name,
                capacity=self._volumes.capacity(self.name) if is_there else 0,
                blockSizeMb=1,
                blockSize=1024,
                maxBlocks=_LARGEST_FILE // 1024**2,
                majorVersion=6,
                version="6.82",
                uuid=self._volume_uuid,
                vmfsUpgradable=False,
                local=not self.properties["host"][1:],
                extent=[vim.host.ScsiDisk.Partition(diskName="naa.lab", partition=1)],
            ),
        )


def _capability() -> vim.Datastore.Capability:
    return vim.Datastore.Capability(
        directoryHierarchySupported=True,
        rawDiskMappingsSupported=False,
        perFileThinProvisioningSupported=True,
        storageIORMSupported=False,
        nativeSnapshotSupported=False,
        topLevelDirectoryCreateSupported=True,
        seSparseSupported=False,
        vmfsSparseSupported=True,
        vsanSparseSupported=False,
        upitSupported=False,
        vmdkExpandSupported=True,
        clusteredVmdkSupported=False,
    )
