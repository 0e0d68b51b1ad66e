"""What virtual machines of a compute resource can be like."""

from __future__ import annotations

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory import host_hardware
from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.distributed_switch import DistributedVirtualPortgroup
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.network import Network
from vmops.lab.inventory.wire_defaults import filled
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.machine.config import DEFAULT_VERSION, HARDWARE_VERSIONS
from vmops.lab.machine.devices.nics import CARD_MODELS
from vmops.lab.machine.devices.slots import KINDS, SCSI, SCSI_MODELS
from vmops.lab.machine.guest_descriptors import MAX_CPUS, MAX_MEMORY_MIB, descriptor, guest_ids
from vmops.lab.operations.properties import capability

_device = vim.vm.device


class EnvironmentBrowser(ManagedObject):
    """The environment browser of one compute resource."""

    wire_type = vim.EnvironmentBrowser

    def __init__(
        self, kernel: Kernel, moid: str, *, compute_resource: Reference, browser: Reference
    ) -> None:
        super().__init__(kernel, moid)
        self._compute_resource = compute_resource
        self.properties["datastoreBrowser"] = browser

    def _hosts(self) -> list[Reference]:
        compute = self.kernel.registry.find(self._compute_resource, ManagedEntity)
        return list(compute.properties["host"])

    def QueryConfigOptionDescriptor(self) -> list[vim.vm.ConfigOptionDescriptor]:
        """List the hardware versions."""
        return [
            vim.vm.ConfigOptionDescriptor(
                key=_version(number),
                description=f"Hardware version {number}",
                host=self._hosts(),
                createSupported=True,
                defaultConfigOption=_version(number) == DEFAULT_VERSION,
                runSupported=True,
                upgradeSupported=True,
            )
            for number in HARDWARE_VERSIONS
        ]

    def QueryConfigOption(
        self, key: str | None = None, host: Reference | None = None
    ) -> vim.vm.ConfigOption | None:
        """Tell what a hardware version, the newest unless given, offers.

        Raises:
            vmodl.fault.InvalidArgument: there is no such version.
        """
        del host  # all hosts are alike
        return _option(key or DEFAULT_VERSION, guest_ids())

    def QueryConfigOptionEx(
        self, spec: vim.EnvironmentBrowser.ConfigOptionQuerySpec | None = None
    ) -> vim.vm.ConfigOption | None:
        """Tell the same for some guest operating systems only."""
        key = spec.key if spec is not None else None
        wanted = spec.guestId if spec is not None and spec.guestId else guest_ids()
        return _option(
            key or DEFAULT_VERSION, tuple(each for each in guest_ids() if each in wanted)
        )

    def QueryConfigTarget(self, host: Reference | None = None) -> vim.vm.ConfigTarget | None:
        """Tell what networks, datastores and processors a machine could have here."""
        source = self.kernel.registry.find(host or self._compute_resource, ManagedEntity)
        machine = host_hardware.this_machine()
        find = self.kernel.registry.find
        datastores = [find(ref, ManagedEntity) for ref in source.properties["datastore"]]
        networks = [find(ref, Network) for ref in source.properties["network"]]
        target = filled(
            vim.vm.ConfigTarget,
            numCpus=machine.threads,
            numCpuCores=machine.threads,
            numNumaNodes=1,
            maxCpusPerHost=machine.threads,
            maxMemMBOptimalPerf=machine.memory_bytes // 1024**2,
            supportedMaxMemMB=MAX_MEMORY_MIB,
        )
        for datastore in datastores:
            target.datastore.append(
                vim.vm.DatastoreInfo(
                    name=datastore.name,
                    datastore=datastore.read("summary"),
                    capability=datastore.read("capability"),
                    maxFileSize=datastore.read("info").maxFileSize,
                    mode="readWrite",
                )
            )
        for network in networks:
            if network.wire_type is vim.Network:
                target.network.append(
                    vim.vm.NetworkInfo(name=network.name, network=network.read("summary"))
                )
            elif isinstance(network, DistributedVirtualPortgroup):
                target.distributedVirtualPortgroup.append(_portgroup_info(network))
        return target

    def QueryTargetCapabilities(self, host: Reference | None = None) -> vim.host.Capability | None:
        """Tell what the host, or any, can do."""
        if host is not None:
            of_host: vim.host.Capability = self.kernel.registry.find(host, HostSystem).properties[
                "capability"
            ]
            return of_host
        return host_hardware.capability()


def _portgroup_info(
    network: DistributedVirtualPortgroup,
) -> vim.dvs.DistributedVirtualPortgroupInfo:
    switch = network.switch
    return vim.dvs.DistributedVirtualPortgroupInfo(
        switchName=switch.name,
        switchUuid=switch.properties["uuid"],
        portgroupName=network.name,
        portgroupKey=network.moid,
        portgroupType="earlyBinding",
        uplinkPortgroup=False,
        portgroup=network.ref,
        networkReservationSupported=False,
    )


def _version(number: int) -> str:
    return f"vmx-{number:02d}"


def _option(key: str, guests: tuple[str, ...]) -> vim.vm.ConfigOption:
    if key not in {_version(number) for number in HARDWARE_VERSIONS}:
        raise invalid_argument("key", f"There is no hardware version '{key}'.")
    return filled(
        vim.vm.ConfigOption,
        version=key,
        description=f"Hardware version {int(key[4:])}",
        guestOSDescriptor=[descriptor(guest_id) for guest_id in guests],
        hardwareOptions=_hardware_options(int(key[4:])),
        capabilities=capability(),
        datastore=vim.vm.DatastoreOption(),
        defaultDevice=[],
        supportedMonitorType=["release"],
    )


def _hardware_options(version: int) -> vim.vm.VirtualHardwareOption:
    types: list[type] = [
        *SCSI_MODELS.values(),
        *(kind.wire_type for kind in KINDS if kind is not SCSI),
    ]
    types += [*CARD_MODELS.values(), _device.VirtualDisk, _device.VirtualCdrom]
    types += [_device.VirtualSerialPort]
    return filled(
        vim.vm.VirtualHardwareOption,
        hwVersion=version,
        virtualDeviceOption=[
            filled(_device.VirtualDeviceOption, type=each, plugAndPlay=False) for each in types
        ],
        numCPU=list(range(1, MAX_CPUS + 1)),
        numCoresPerSocket=_numbers(1, MAX_CPUS, 1),
        memoryMB=vim.option.LongOption(
            valueIsReadonly=False, min=4, max=MAX_MEMORY_MIB, defaultValue=32
        ),
        numPCIControllers=_numbers(1, 1, 1),
        numIDEControllers=_numbers(2, 2, 2),
        numUSBControllers=_numbers(0, 0, 0),
        numUSBXHCIControllers=_numbers(0, 0, 0),
        numSIOControllers=_numbers(1, 1, 1),
        numPS2Controllers=_numbers(1, 1, 1),
        resourceConfigOption=vim.ResourceConfigOption(
            cpuAllocationOption=_allocation(1000), memoryAllocationOption=_allocation(10)
        ),
    )


def _numbers(low: int, high: int, default: int) -> vim.option.IntOption:
    return vim.option.IntOption(valueIsReadonly=False, min=low, max=high, defaultValue=default)


def _allocation(normal: int) -> vim.ResourceAllocationOption:
    return vim.ResourceAllocationOption(
        sharesOption=vim.SharesOption(
            sharesOption=_numbers(0, 1_000_000, normal), defaultLevel="normal"
        )
    )
