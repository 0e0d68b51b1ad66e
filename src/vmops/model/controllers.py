"""The kinds of disk controllers that a virtual machine can have, and their places.

One row for each `AdapterType`; what else knows of controllers asks here. Limits are VMware's
(Configuration Maximums): four controllers of each kind but IDE, of which every machine has two.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmops.model.image import AdapterType


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerKind:
    """``word`` is the bus in the names of a disk's counters, "scsi0:0".

    ``wire_name`` is the device's class in the API, which the keys of a lease's disks have, too.
    ``own_unit`` is the unit that is the controller's own, ``descriptor`` the word that a VMDK's
    descriptor has for it, which knows fewer.
    """

    word: str
    wire_name: str
    units: int
    own_unit: int | None = None
    descriptor: str = "lsiLogic"

    def free_units(self) -> tuple[int, ...]:
        """The units that disks can have."""
        return tuple(unit for unit in range(self.units) if unit != self.own_unit)


def _scsi(wire_name: str, descriptor: str = "lsiLogic") -> ControllerKind:
    return ControllerKind(
        word="scsi", wire_name=wire_name, units=16, own_unit=7, descriptor=descriptor
    )


KINDS: dict[AdapterType, ControllerKind] = {
    AdapterType.IDE: ControllerKind(
        word="ide", wire_name="VirtualIDEController", units=2, descriptor="ide"
    ),
    AdapterType.BUS_LOGIC: _scsi("VirtualBusLogicController", "busLogic"),
    AdapterType.LSI_LOGIC: _scsi("VirtualLsiLogicController"),
    AdapterType.LSI_LOGIC_SAS: _scsi("VirtualLsiLogicSASController"),
    AdapterType.PARA_VIRTUAL: _scsi("ParaVirtualSCSIController"),
    AdapterType.SATA: ControllerKind(word="sata", wire_name="VirtualAHCIController", units=30),
    AdapterType.NVME: ControllerKind(word="nvme", wire_name="VirtualNVMEController", units=15),
}
MAX_CONTROLLERS = 4
"""Of each word; those of IDE are there from the beginning."""
