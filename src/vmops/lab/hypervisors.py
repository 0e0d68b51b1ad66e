"""Which hypervisor a lab gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.lab.hypervisor.null import NullHypervisor
from vmops.lab.qemu import QemuHypervisor
from vmops.lab.qemu.missing import find_program

if TYPE_CHECKING:
    from vmops.lab.hypervisor.port import Hypervisor
    from vmops.lab.settings import LabSettings


def hypervisor_for(settings: LabSettings) -> Hypervisor:
    """Return the hypervisor the settings ask for.

    With "auto" QEMU may be missing: everything but starting a guest then works, and starting one
    raises HypervisorMissing. It is looked for at every start, so installing it is enough.

    Raises:
        HypervisorMissing: "qemu" is asked for by name and is not installed.
    """
    if settings.hypervisor == "none":
        return NullHypervisor()
    if settings.hypervisor == "qemu":
        find_program("qemu-system-x86_64")
    return QemuHypervisor(settings.state_dir / "run")
