"""What a virtual machine shows of itself beside its configuration."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from pyVmomi import vim

from vmops.lab.inventory.wire_defaults import filled
from vmops.lab.machine.devices.parts import file_of
from vmops.lab.machine.files import VmFile, scan
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshots.layout import disks_beside, snapshot_layouts
from vmops.lab.operations.quick_stats import quick_figures
from vmops.lab.storage.paths import DatastorePath

_device = vim.vm.device
_GREEN = vim.ManagedEntity.Status.green


def capability() -> vim.vm.Capability:
    """Build what can be done with a machine of the lab; all else is False."""
    return filled(
        vim.vm.Capability,
        s1AcpiManagementSupported=True,
        diskSharesSupported=True,
        bootOptionsSupported=True,
        settingVideoRamSizeSupported=True,
        multipleCoresPerSocketSupported=True,
        snapshotOperationsSupported=True,
        multipleSnapshotsSupported=True,
        snapshotConfigSupported=True,
        poweredOffSnapshotsSupported=True,
        memorySnapshotsSupported=True,
        revertToSnapshotSupported=True,
        quiescedSnapshotsSupported=True,
        diskOnlySnapshotOnSuspendedVMSupported=True,
    )


def summary(vm: Machine) -> vim.vm.Summary:
    """Build the VirtualMachineSummary."""
    guest = vm.properties["guest"]
    return vim.vm.Summary(
        vm=vm.ref,
        runtime=vm.properties["runtime"],
        guest=vim.vm.Summary.GuestSummary(
            guestId=guest.guestId,
            guestFullName=guest.guestFullName,
            toolsStatus=guest.toolsStatus,
            toolsVersionStatus=guest.toolsVersionStatus,
            toolsVersionStatus2=guest.toolsVersionStatus2,
            toolsRunningStatus=guest.toolsRunningStatus,
            hostName=guest.hostName,
            ipAddress=guest.ipAddress,
        ),
        config=_config_summary(vm),
        storage=_storage_summary(vm),
        quickStats=_quick_stats(vm),
        overallStatus=_GREEN,
    )


def _config_summary(vm: Machine) -> vim.vm.Summary.ConfigSummary:
    config = vm.properties["config"]
    if config is None:
        return vim.vm.Summary.ConfigSummary(name=vm.name, template=False, vmPathName=vm.vmx_path)
    kinds = [_device.VirtualEthernetCard, _device.VirtualDisk]
    cards, disks = (sum(isinstance(each, kind) for each in vm.devices) for kind in kinds)
    return vim.vm.Summary.ConfigSummary(
        name=config.name,
        template=config.template,
        vmPathName=config.files.vmPathName,
        memorySizeMB=config.hardware.memoryMB,
        cpuReservation=config.cpuAllocation.reservation,
        memoryReservation=config.memoryAllocation.reservation,
        numCpu=config.hardware.numCPU,
        numEthernetCards=cards,
        numVirtualDisks=disks,
        uuid=config.uuid,
        instanceUuid=config.instanceUuid,
        guestId=config.guestId,
        guestFullName=config.guestFullName,
        annotation=config.annotation,
        managedBy=config.managedBy,
        installBootRequired=False,
        hwVersion=config.version,
    )


def _quick_stats(vm: Machine) -> vim.vm.Summary.QuickStats:
    state = vm.properties["runtime"]
    is_on = vm.power_state == "poweredOn"
    used, active, mhz = quick_figures(vm)
    uptime = 0
    if is_on and state.bootTime is not None:
        uptime = int((datetime.now(UTC) - state.bootTime).total_seconds())
    return vim.vm.Summary.QuickStats(
        overallCpuUsage=mhz,
        overallCpuDemand=mhz,
        guestMemoryUsage=active,
        hostMemoryUsage=used,
        guestHeartbeatStatus=vm.properties["guestHeartbeatStatus"],
        distributedCpuEntitlement=0,
        distributedMemoryEntitlement=0,
        staticCpuEntitlement=0,
        staticMemoryEntitlement=0,
        privateMemory=used,
        sharedMemory=0,
        swappedMemory=0,
        balloonedMemory=0,
        consumedOverheadMemory=0,
        ftLogBandwidth=-1,
        ftSecondaryLatency=-1,
        ftLatencyStatus=vim.ManagedEntity.Status.gray,
        compressedMemory=0,
        uptimeSeconds=uptime,
        ssdSwappedMemory=0,
    )


def resource_config(vm: Machine) -> vim.ResourceConfigSpec | None:
    """Build the ResourceConfigSpec; None if the machine is not accessible."""
    config = vm.properties["config"]
    if config is None:
        return None
    return vim.ResourceConfigSpec(
        entity=vm.ref,
        changeVersion=config.changeVersion,
        cpuAllocation=config.cpuAllocation,
        memoryAllocation=config.memoryAllocation,
    )


def _uncommitted(vm: Machine) -> dict[str, int]:
    """Bytes that disks may still grow by, by datastore."""
    grow: defaultdict[str, int] = defaultdict(int)
    allocated = {
        file.disk_key: file.allocated
        for file in vm.files
        if file.type == "diskExtent" and file.level == 0
    }
    for disk in vm.devices:
        if isinstance(disk, _device.VirtualDisk):
            datastore = DatastorePath.parse(file_of(disk)).datastore
            grow[datastore] += max(0, int(disk.capacityInBytes or 0) - allocated.get(disk.key, 0))
    return grow


def _committed(vm: Machine, *, only_own: bool = False) -> dict[str, int]:
    """Bytes that files occupy, by datastore, those of parents of disks too unless ``only_own``."""
    used: defaultdict[str, int] = defaultdict(int)
    counted = {file.path: file for file in vm.files if not (only_own and file.level)}
    for path, file in counted.items():
        used[path.datastore] += file.allocated
    return used


def _storage_summary(vm: Machine) -> vim.vm.Summary.StorageSummary:
    return vim.vm.Summary.StorageSummary(
        committed=sum(_committed(vm).values()),
        uncommitted=sum(_uncommitted(vm).values()),
        unshared=sum(_committed(vm, only_own=True).values()),
        timestamp=vm.files_seen_at,
    )


async def refresh_files(vm: Machine) -> None:
    """Look at the machine's files, and publish ``layoutEx`` and ``storage``."""
    vm.files = await vm.kernel.blocking(scan, vm.store, vm.vmx, vm.devices, disks_beside(vm))
    vm.files_seen_at = datetime.now(UTC)
    if vm.moid in vm.kernel.registry:
        vm.publish({"layoutEx": _layout(vm), "storage": _storage(vm)})


def _layout(vm: Machine) -> vim.vm.FileLayoutEx:
    by_path: dict[DatastorePath, tuple[int, VmFile]] = {}
    for file in vm.files:
        by_path.setdefault(file.path, (len(by_path), file))
    disks = []
    for disk in vm.devices:
        if not isinstance(disk, _device.VirtualDisk):
            continue
        of_disk = [file for file in vm.files if file.disk_key == disk.key]
        units: defaultdict[int, list[int]] = defaultdict(list)
        for file in of_disk:
            units[file.level].append(by_path[file.path][0])
        chain = [vim.vm.FileLayoutEx.DiskUnit(fileKey=units[at]) for at in sorted(units)[::-1]]
        disks.append(vim.vm.FileLayoutEx.DiskLayout(key=disk.key, chain=chain))
    return vim.vm.FileLayoutEx(
        file=[
            vim.vm.FileLayoutEx.FileInfo(
                key=key,
                name=str(file.path),
                type="log" if file.type == "serial" else file.type,
                size=file.size,
                uniqueSize=file.allocated if file.level == 0 else 0,
                accessible=True,
            )
            for key, file in by_path.values()
        ],
        disk=disks,
        snapshot=snapshot_layouts(vm, {str(path): key for path, (key, _) in by_path.items()}),
        timestamp=vm.files_seen_at,
    )


def _storage(vm: Machine) -> vim.vm.StorageInfo:
    committed, own, grow = _committed(vm), _committed(vm, only_own=True), _uncommitted(vm)
    names = {vm.kernel.registry.get(ref).read("name"): ref for ref in vm.properties["datastore"]}
    return vim.vm.StorageInfo(
        perDatastoreUsage=[
            vim.vm.StorageInfo.UsageOnDatastore(
                datastore=ref,
                committed=committed.get(name, 0),
                uncommitted=grow.get(name, 0),
                unshared=own.get(name, 0),
            )
            for name, ref in names.items()
        ],
        timestamp=vm.files_seen_at,
    )
