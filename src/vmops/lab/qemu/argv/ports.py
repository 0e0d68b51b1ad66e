"""What the guest talks through: disk controllers, network cards, serial ports, guestinfo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Controller, GuestDefinition, Nic, SerialPort
from vmops.lab.qemu.argv.boot_order import boot_indexes
from vmops.lab.qemu.argv.host import Host, option, structured
from vmops.lab.qemu.argv.slots import pci_slots

# QEMU has neither LSI's 53c1030 nor BusLogic's cards. The 53c895a is the nearest that Linux, BIOS
# and Windows drivers exist for.
_CONTROLLERS = {
    "ParaVirtualSCSIController": "pvscsi",
    "VirtualLsiLogicController": "lsi53c895a",
    "VirtualBusLogicController": "lsi53c895a",
    "VirtualLsiLogicSASController": "mptsas1068",
    "VirtualAHCIController": "ich9-ahci",
    "VirtualNVMEController": "nvme",
}
_SCSI = frozenset(
    {
        "ParaVirtualSCSIController",
        "VirtualLsiLogicController",
        "VirtualBusLogicController",
        "VirtualLsiLogicSASController",
    }
)
# Of all SCSI cards, OVMF as Debian builds it drives this one alone: from those above no EFI guest
# would start.
_SCSI_WITH_EFI = "virtio-scsi-pci"
_NICS = {
    "VirtualE1000": "e1000",
    "VirtualE1000e": "e1000e",
    "VirtualVmxnet3": "vmxnet3",
    "VirtualVmxnet2": "vmxnet3",  # its successor; guests with a driver for 2 alone are of 2008
    "VirtualPCNet32": "pcnet",
}
_IDE_CHANNELS = 2
_MOST_SERIAL_PORTS = 4
_LONGEST_FW_CFG_NAME = 55  # QEMU: FW_CFG_MAX_FILE_PATH, with the ending NUL
_GUESTINFO = "opt/guestinfo/"


def controllers(machine: GuestDefinition, _host: Host) -> Sequence[str]:
    """Disk controllers; IDE's two channels are part of the board."""
    slots = pci_slots(machine)
    arguments: list[str] = []
    for controller in sorted(machine.controllers, key=lambda controller: controller.key):
        if controller.model == "VirtualIDEController":
            if not 0 <= controller.bus_number < _IDE_CHANNELS:
                raise HypervisorError(f"the lab has {_IDE_CHANNELS} IDE channels")
            continue
        device = controller_device(controller, slots[controller.key], machine.firmware)
        arguments += structured("-device", **device)
    return arguments


def controller_device(
    controller: Controller, slot: int, firmware: Literal["bios", "efi"]
) -> dict[str, object]:
    """Return the device of a disk controller that is not IDE, one that the firmware starts from."""
    is_replaced = firmware == "efi" and controller.model in _SCSI
    device: dict[str, object] = {
        "driver": _SCSI_WITH_EFI if is_replaced else _CONTROLLERS[controller.model],
        "id": f"controller-{controller.key}",
        "addr": hex(slot),
    }
    if controller.model == "VirtualNVMEController":
        device["serial"] = f"VMware NVME_{controller.bus_number:04}"
    return device


def nics(machine: GuestDefinition, host: Host) -> Sequence[str]:
    """Network cards, each on a socket that leads to its segment."""
    slots = pci_slots(machine)
    order = boot_indexes(machine)
    arguments: list[str] = []
    for nic in sorted(machine.nics, key=lambda nic: nic.key):
        arguments += structured("-netdev", **nic_backend(nic, host.nic_descriptors[nic.key]))
        device = nic_device(nic, slots[nic.key])
        arguments += structured("-device", **device, bootindex=order[nic.key])
    return arguments


def nic_backend(nic: Nic, descriptor: int) -> dict[str, object]:
    """Return what leads from a card to its segment, for a guest that is started."""
    return {
        "type": "stream",
        "id": f"segment-{nic.key}",
        "server": False,
        "addr": {"type": "fd", "str": str(descriptor)},
    }


def hot_nic_backend(nic: Nic, descriptor_name: str) -> dict[str, object]:
    """Return the same for a guest that runs, whose monitor was given the descriptor by this name.

    QEMU 7.2 looks up a stream's descriptor in a thread that knows no monitor, and so no names; its
    older back end of this kind, which speaks the same, does it at once.
    """
    return {"type": "socket", "id": f"segment-{nic.key}", "fd": descriptor_name}


def nic_device(nic: Nic, slot: int) -> dict[str, object]:
    """Return the device of a network card."""
    return {
        "driver": _NICS[nic.model],
        "id": f"nic-{nic.key}",
        "netdev": f"segment-{nic.key}",
        "mac": nic.mac_address,
        "addr": hex(slot),
    }


def serial_ports(machine: GuestDefinition, host: Host) -> Sequence[str]:
    """Serial ports in the order of their keys: to a file, at its end, or to the lab's relay."""
    ports = sorted(machine.serial_ports, key=lambda port: port.key)
    if len(ports) > _MOST_SERIAL_PORTS:
        raise HypervisorError(f"the lab has {_MOST_SERIAL_PORTS} serial ports")
    arguments: list[str] = []
    for index, port in enumerate(ports):
        name = f"serial-{port.key}"
        if isinstance(port, SerialPort):
            line = f"file,id={name}-file,path={option(port.file)},append=on"
        else:
            line = (
                f"socket,id={name}-file,fd={host.serial_descriptors[port.key]},server=on,wait=off"
            )
        arguments += ("-chardev", line)
        arguments += structured(
            "-device", driver="isa-serial", id=name, chardev=f"{name}-file", index=index
        )
    return arguments


def guestinfo(_machine: GuestDefinition, host: Host) -> Sequence[str]:
    """Values of extraConfig for the guest, each through a file: some hold passwords.

    The guest reads the key ``k`` as ``/sys/firmware/qemu_fw_cfg/by_name/opt/guestinfo/k/raw``.
    """
    arguments: list[str] = []
    for key, file in sorted(host.guestinfo_files.items()):
        arguments += ("-fw_cfg", f"name={option(_GUESTINFO + key)},file={option(file)}")
    return arguments


def guestinfo_keys(machine: GuestDefinition) -> tuple[str, ...]:
    """Return the keys of extraConfig that the guest is told, sorted.

    Keys QEMU has no name for (longer than 41 characters, or with other than letters, digits,
    ``.``, ``-`` and ``_``) are not among them.
    """
    return tuple(
        key
        for key in sorted(machine.extra_config)
        if (key.startswith("guestinfo.") or key == "machine.id")
        and len(_GUESTINFO + key) <= _LONGEST_FW_CFG_NAME
        and key.isascii()
        and key.replace(".", "").replace("-", "").replace("_", "").isalnum()
    )
