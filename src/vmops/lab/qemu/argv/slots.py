"""Where on the PCI bus each device sits.

A guest names its network cards by slot, and finds its memory only if every device sits where it
sat. So a device's slot follows from its own key and not from what else the machine has, as long as
keys are those vSphere gives out.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Controller, GuestDefinition, Nic

DISPLAY_SLOT = 0x02  # 0 and 1 are the board's own
TOOLS_SLOT = 0x0F

# First slot and first key of each kind. Keys as vSphere's virtual hardware numbers them: SCSI
# controllers from 1000, network cards from 4000, SATA from 15000, NVMe from 31000.
_RANGES = {
    "VirtualNVMEController": (0x03, 31000),
    "VirtualAHCIController": (0x07, 15000),
    "scsi": (0x0B, 1000),
    "nic": (0x10, 4000),
}
_LAST_SLOT = 0x1F


def pci_slots(machine: GuestDefinition) -> Mapping[int, int]:
    """Return the slot of each controller and network card by device key.

    IDE controllers are part of the board and have none.

    Raises:
        HypervisorError: there are more devices than slots.
    """
    wanted = {nic.key: slot_of(nic) for nic in machine.nics}
    for controller in machine.controllers:
        if controller.model != "VirtualIDEController":
            wanted[controller.key] = slot_of(controller)
    slots: dict[int, int] = {}
    free = set(range(DISPLAY_SLOT + 1, _LAST_SLOT + 1)) - {TOOLS_SLOT}
    for key, slot in sorted(wanted.items()):
        if slot in free:
            slots[key] = slot
            free.remove(slot)
    for key in sorted(wanted.keys() - slots.keys()):
        if not free:
            raise HypervisorError("the machine has more controllers and network cards than slots")
        slots[key] = max(free)
        free.remove(slots[key])
    return slots


def slot_of(device: Nic | Controller) -> int:
    """Return the slot that is a device's own; with an unusual key it may be none there is."""
    kind = "nic" if isinstance(device, Nic) else device.model
    first_slot, first_key = _RANGES.get(kind, _RANGES["scsi"])
    return first_slot + device.key - first_key
