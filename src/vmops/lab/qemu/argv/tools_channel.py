"""The channel to the tools inside the guest: a virtio-serial port, in every machine."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.lab.hypervisor.port import GuestDefinition
from vmops.lab.qemu.argv.host import Host, structured
from vmops.lab.qemu.argv.slots import TOOLS_SLOT
from vmops.lab.qemu.tools_protocol import PORT_NAME


def tools(_machine: GuestDefinition, host: Host) -> Sequence[str]:
    """The port, on a socket the lab connects to; guests without tools leave it closed."""
    if host.tools_descriptor is None:
        return ()
    # Each port costs the guest memory and time at its start, so there are no more than these:
    # one for the channel, and number 0, which is a console's by definition.
    bus = f"virtio-serial-pci,id=tools,addr={TOOLS_SLOT:#x},max_ports=2"
    return (
        "-chardev",
        f"socket,id=tools-socket,fd={host.tools_descriptor},server=on,wait=off",
        "-device",
        bus,
        *structured(
            "-device",
            driver="virtserialport",
            id="tools-port",
            bus="tools.0",
            nr=1,
            chardev="tools-socket",
            name=PORT_NAME,
        ),
    )
