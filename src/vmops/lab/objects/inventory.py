"""The inventory of a lab at its start: what every lab has, and what was saved."""

from __future__ import annotations

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.tools_info import GuestTools
from vmops.lab.objects.default_inventory import add_default_inventory
from vmops.lab.objects.managers import add_monitoring
from vmops.lab.objects.saved_inventory import SavedInventory
from vmops.lab.operations.journal import journal
from vmops.lab.operations.power import guest_stopped
from vmops.lab.operations.recovery import end_unfinished, settle_snapshots


async def build_inventory(kernel: Kernel) -> None:
    """Start the hypervisor, add all objects, and keep the saved inventory up to date from then on.

    Virtual machines are on if their guests run now. Guests of machines that are in no inventory
    are ended, and what an earlier run left half done too.
    """
    await kernel.hypervisor.start(lambda key: guest_stopped(kernel, key), GuestTools(kernel))
    add_default_inventory(kernel)
    saved = SavedInventory(kernel)
    await settle_snapshots(kernel)
    await saved.restore()
    await end_unfinished(kernel)
    saved.keep()
    journal(kernel).save = saved.write
    add_monitoring(kernel)
