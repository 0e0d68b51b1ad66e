"""The machine itself: board, identity, firmware, screen."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import GuestDefinition
from vmops.lab.qemu.argv.host import Host, option, structured
from vmops.lab.qemu.argv.slots import DISPLAY_SLOT


def safety(_machine: GuestDefinition, host: Host) -> Sequence[str]:
    """No devices or settings but those asked for, and no way out of the process."""
    sandbox = ("-sandbox", host.sandbox) if host.sandbox else ()
    return ("-no-user-config", "-nodefaults", *sandbox)


def chipset(_machine: GuestDefinition, host: Host) -> Sequence[str]:
    """Intel's 440, the board VMware presents too; and a clock that keeps UTC."""
    return ("-machine", host.machine_type, "-rtc", "base=utc")


def identity(machine: GuestDefinition, _host: Host) -> Sequence[str]:
    """Name, and the SMBIOS strings by which guests know that VMware is under them."""
    try:
        bios_uuid = uuid.UUID(machine.bios_uuid)
    except ValueError as error:
        raise HypervisorError(f"{machine.bios_uuid!r} is not a BIOS UUID") from error
    raw = bios_uuid.bytes.hex(" ")
    serial = f"VMware-{raw[:23]}-{raw[24:]}"
    smbios = (
        f"type=1,manufacturer={option('VMware, Inc.')},product=VMware Virtual Platform,"
        f"version=None,serial={serial},uuid={bios_uuid}"
    )
    return (
        *("-name", f"guest={option(machine.name)}"),
        *("-uuid", str(bios_uuid)),
        *("-smbios", smbios),
    )


def firmware(machine: GuestDefinition, host: Host) -> Sequence[str]:
    """EFI in two flash chips; BIOS is the board's own."""
    if machine.firmware == "bios":
        return ()
    if host.efi is None:
        raise HypervisorError("EFI firmware is not installed: apt-get install ovmf")
    chips = (("code", host.efi.code, True), ("variables", host.efi.variables, False))
    arguments: list[str] = []
    for name, file, read_only in chips:
        arguments += structured(
            "-blockdev",
            node_name=f"efi-{name}",
            driver="raw",
            read_only=read_only,
            file={"driver": "file", "filename": str(file)},
        )
    return (*arguments, "-machine", "pflash0=efi-code,pflash1=efi-variables")


def boot(_machine: GuestDefinition, _host: Host) -> Sequence[str]:
    """Only from devices that have a place in the boot order."""
    return ("-boot", "strict=on")


def display(_machine: GuestDefinition, _host: Host) -> Sequence[str]:
    """VMware's graphics card, and a console that listens nowhere until it is told to.

    It has a password, unknown to all until one is set over the monitor; the lab's own connections
    are handed in and need none.
    """
    card = structured("-device", driver="vmware-svga", id="display", addr=hex(DISPLAY_SLOT))
    return ("-display", "none", "-vnc", "none,password=on", *card)


def incoming(_machine: GuestDefinition, host: Host) -> Sequence[str]:
    """Memory from a file or from another QEMU, if the guest has run before."""
    if host.memory_descriptor is None:
        return ()
    return ("-incoming", f"fd:{host.memory_descriptor}")


def monitor(_machine: GuestDefinition, host: Host) -> Sequence[str]:
    """The lab's own line to QEMU; the guest waits for its word, unless it just moves."""
    socket = f"socket,id=qmp,fd={host.qmp_descriptor},server=on,wait=off"
    halted = () if host.starts_at_once else ("-S",)
    return ("-chardev", socket, "-mon", "chardev=qmp,mode=control", *halted)
