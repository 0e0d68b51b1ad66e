"""QEMU's command line for a machine: a list of configurators, one for each subject.

Rules of the package: a configurator is a pure function of the machine and of what this host gives
it (``Host``), returns the options of its one subject, and returns none if the subject is not asked
for. What the lab cannot provide is a HypervisorError that says so in the user's words. No file is
read, no path is made up from a name, no secret appears: a command line can be read by every user.
Options with values from outside are JSON, or escaped by `option`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vmops.lab.hypervisor.port import GuestDefinition
from vmops.lab.qemu.argv.disks import cdroms, disks
from vmops.lab.qemu.argv.growth import processor_and_memory
from vmops.lab.qemu.argv.host import Host
from vmops.lab.qemu.argv.platform import (
    boot,
    chipset,
    display,
    firmware,
    identity,
    incoming,
    monitor,
    safety,
)
from vmops.lab.qemu.argv.ports import controllers, guestinfo, nics, serial_ports
from vmops.lab.qemu.argv.seed import seed
from vmops.lab.qemu.argv.tools_channel import tools

__all__ = ["CONFIGURATORS", "Host", "command_line"]

Configurator = Callable[[GuestDefinition, Host], Sequence[str]]

CONFIGURATORS: tuple[Configurator, ...] = (
    safety,
    chipset,
    processor_and_memory,
    identity,
    firmware,
    boot,
    display,
    controllers,
    disks,
    cdroms,
    seed,
    nics,
    serial_ports,
    guestinfo,
    tools,
    incoming,
    monitor,
)


def command_line(machine: GuestDefinition, host: Host) -> tuple[str, ...]:
    """Return the arguments to start ``machine`` with, the program first.

    The guest starts halted; `cont` over QMP sets it going.

    Raises:
        HypervisorError: the machine has a device or a number of them the lab cannot provide.
    """
    arguments = [str(host.program)]
    for configure in CONFIGURATORS:
        arguments += configure(machine, host)
    return tuple(arguments)
