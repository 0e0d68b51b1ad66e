"""From an OVF descriptor to what ImportVApp takes, and what the client then sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.network import Network
from vmops.lab.inventory.placement import choose_host
from vmops.lab.machine.config import hardware_version
from vmops.lab.machine.devices.nics import networks_of
from vmops.lab.machine.guest_descriptors import guest_ids
from vmops.lab.objects.ovf.envelope import (
    Envelope,
    OvfItem,
    invalid_value,
    read_envelope,
    unit_bytes,
)
from vmops.lab.objects.ovf.hardware import CPU, DISK, MEMORY, OvfHardware

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDevice
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel

_MIB = 1024 * 1024
PROVISIONING = (
    *("thin", "thick", "eagerZeroedThick", "flat", "sparse"),
    *(
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "seSparse",
    ),
)
_THIN = frozenset({"thin", "sparse", "monolithicSparse", "twoGbMaxExtentSparse", "seSparse"})
# CIM_OperatingSystem.OSType; what VMware adds to it, vmw:osType, is more precise.
SYSTEMS = {
    1: "otherGuest",
    36: "otherLinuxGuest",
    101: "otherLinux64Guest",
    102: "otherGuest64",
    79: "rhel6Guest",
    80: "rhel6_64Guest",
    84: "sles11Guest",
    85: "sles11_64Guest",
    93: "ubuntuGuest",
    94: "ubuntu64Guest",
    95: "debian10Guest",
    96: "debian10_64Guest",
    99: "other26xLinux64Guest",
    103: "windows7Server64Guest",
    105: "windows7_64Guest",
    106: "centosGuest",
    107: "centos64Guest",
    116: "windows8Server64Guest",
    42: "freebsdGuest",
    78: "freebsd64Guest",
    120: "windows9_64Guest",
}
_FLAGS = {
    "cpuHotAddEnabled": "cpuHotAddEnabled",
    "cpuHotRemoveEnabled": "cpuHotRemoveEnabled",
    "memoryHotAddEnabled": "memoryHotAddEnabled",
    "nestedHVEnabled": "nestedHVEnabled",
}


def create_import_spec(
    kernel: Kernel,
    descriptor: str,
    pool: Reference,
    datastore: Reference,
    params: vim.OvfManager.CreateImportSpecParams,
) -> vim.OvfManager.CreateImportSpecResult:
    """Build a CreateImportSpecResult; what is wrong with the descriptor stands in its ``error``.

    Raises:
        vmodl.fault.ManagedObjectNotFound: there is no such pool, datastore, host or network.
        vmodl.fault.InvalidArgument: the host is not one of the pool's.
        vim.fault.InvalidDatastore: the host does not have the datastore.
    """
    result = vim.OvfManager.CreateImportSpecResult
    store = kernel.registry.find(datastore, ManagedEntity)
    host = choose_host(kernel, pool, params.hostSystem, store.name)
    mapped = {
        each.name: kernel.registry.find(each.network, Network) for each in params.networkMapping
    }
    try:
        envelope = read_envelope(descriptor, params.deploymentOption or "")
        return _result(kernel, envelope, store.name, host, mapped, params)
    except vim.fault.OvfFault as fault:
        return result(error=[fault])


def _result(
    kernel: Kernel,
    envelope: Envelope,
    datastore: str,
    host: HostSystem,
    mapped: dict[str, Network],
    params: vim.OvfManager.CreateImportSpecParams,
) -> vim.OvfManager.CreateImportSpecResult:
    if envelope.is_collection:
        raise vim.fault.OvfUnsupportedPackage(msg="Only single virtual machines can be imported.")
    provisioning = params.diskProvisioning or "thick"
    if provisioning not in PROVISIONING:
        raise vim.fault.OvfUnsupportedDiskProvisioning(
            diskProvisioning=provisioning,
            supportedDiskProvisioning=",".join(PROVISIONING),
            msg=f"There is no disk provisioning '{provisioning}'.",
        )
    name = params.entityName or envelope.name
    hardware = OvfHardware(
        envelope=envelope,
        backings=lambda network: _backing(_network(kernel, host, mapped, network)),
        thin=provisioning in _THIN,
        eager=provisioning == "eagerZeroedThick",
    )
    hardware.build()
    spec = vim.vm.ConfigSpec(
        name=name,
        annotation=envelope.annotation or None,
        files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
        deviceChange=hardware.changes,
        extraConfig=[
            vim.option.OptionValue(key=key, value=value)
            for key, value in envelope.extra_config.items()
        ],
    )
    warnings = hardware.warnings + _system(envelope, spec)
    _size(envelope, spec)
    _settings(envelope, spec)
    items = [
        vim.OvfManager.FileItem(
            deviceId=f"/{name}/{each.place}",
            path=each.disk.file.href,
            compressionMethod=each.disk.file.compression or None,
            chunkSize=each.disk.file.chunk_size,
            size=each.disk.file.size,
            cimType=DISK,
            create=False,
        )
        for each in hardware.disks
        if each.disk.file is not None
    ]
    return vim.OvfManager.CreateImportSpecResult(
        importSpec=vim.vm.VmImportSpec(configSpec=spec), fileItem=items, warning=warnings
    )


def _network(kernel: Kernel, host: HostSystem, mapped: dict[str, Network], name: str) -> Network:
    """Return where a card goes: as mapped, else to the network of that name, else to the first."""
    if name in mapped:
        return mapped[name]
    there = networks_of(kernel, host)
    found = [network for network in there if network.port_group == name] or there
    if not found:
        raise vim.fault.OvfNoHostNic(msg="The host has no network.")
    return found[0]


def _backing(network: Network) -> VirtualDevice.BackingInfo:
    card = vim.vm.device.VirtualEthernetCard
    if network.wire_type is vim.dvs.DistributedVirtualPortgroup:
        config = network.properties["config"]
        switch = network.kernel.registry.get(config.distributedVirtualSwitch)
        connection = vim.dvs.PortConnection(
            switchUuid=switch.properties["uuid"], portgroupKey=config.key
        )
        return card.DistributedVirtualPortBackingInfo(port=connection)
    return card.NetworkBackingInfo(deviceName=network.port_group)


def _system(envelope: Envelope, spec: vim.vm.ConfigSpec) -> list[vmodl.MethodFault]:
    """Set guest and hardware version; return the warnings."""
    warnings: list[vmodl.MethodFault] = []
    given = envelope.os_type
    spec.guestId = given if given in guest_ids() else SYSTEMS.get(envelope.os_id, "otherGuest")
    if given and given != spec.guestId:
        warnings.append(
            vim.fault.OvfMappedOsId(
                ovfId=envelope.os_id,
                ovfDescription=given,
                targetDescription=spec.guestId,
                msg=f"The guest '{given}' is unknown; it becomes '{spec.guestId}'.",
            )
        )
    for family in envelope.hardware_families:
        try:
            spec.version = hardware_version(family)
        except vmodl.fault.InvalidArgument:
            continue
        break
    return warnings


def _size(envelope: Envelope, spec: vim.vm.ConfigSpec) -> None:
    spec.numCPUs, spec.memoryMB = 1, 256
    for item in envelope.items:
        kind = item.number("ResourceType")
        if kind == CPU:
            spec.numCPUs = item.number("VirtualQuantity", 1)
            cores = item.number("CoresPerSocket", 1)
            spec.numCoresPerSocket = cores if cores > 1 else None
            spec.cpuAllocation = _allocation(item, 1)
        elif kind == MEMORY:
            unit = unit_bytes(item.text("AllocationUnits") or "byte * 2^20", "AllocationUnits")
            spec.memoryMB = item.number("VirtualQuantity", 256) * unit // _MIB
            spec.memoryAllocation = _allocation(item, unit // _MIB or 1)


def _allocation(item: OvfItem, unit: int) -> vim.ResourceAllocationInfo | None:
    """Return reservation, limit and shares; None if the item says none."""
    if not any(item.text(name) for name in ("Reservation", "Limit", "Weight")):
        return None
    allocation = vim.ResourceAllocationInfo(reservation=item.number("Reservation") * unit)
    if limit := item.number("Limit"):
        allocation.limit = limit * unit
    if weight := item.number("Weight"):
        allocation.shares = vim.SharesInfo(level="custom", shares=weight)
    return allocation


def _settings(envelope: Envelope, spec: vim.vm.ConfigSpec) -> None:
    """Set what VMware's own configuration in the descriptor says and the lab has."""
    for key, name in _FLAGS.items():
        if key in envelope.config:
            setattr(spec, name, _truth(key, envelope.config[key]))
    if firmware := envelope.config.get("firmware"):
        spec.firmware = firmware
    secure = envelope.config.get("bootOptions.efiSecureBootEnabled")
    if secure is not None:
        spec.bootOptions = vim.vm.BootOptions(efiSecureBootEnabled=_truth("secureBoot", secure))


def _truth(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise invalid_value(name, text)
    return text.lower() == "true"


def deployment_sizes(envelope: Envelope) -> tuple[int, int, int]:
    """Return the bytes to download, and those of the disks when thick and when thin."""
    download = sum(each.size or 0 for each in envelope.files.values())
    flat = sum(each.capacity_bytes for each in envelope.disks.values())
    return download, flat, download


def check_host(kernel: Kernel, host: Reference) -> None:
    """Raise vmodl.fault.InvalidArgument if there is no host."""
    if host is None:
        raise invalid_argument("host", "A host is needed.")
    kernel.registry.find(host, HostSystem)
