"""CD-ROM drives with an ISO image in them."""

from __future__ import annotations

from collections.abc import Sequence

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.specs.places import Places

CDROM_KEY = -400
"""Of the first drive; the next ones count down."""


def insert(
    images: Sequence[DatastorePath], places: Places
) -> list[vim.vm.device.VirtualDeviceSpec]:
    """The device changes that add an IDE drive for each ISO image.

    Raises:
        UnsupportedDevice: the IDE controllers have no place for so many.
    """
    return [_drive(CDROM_KEY - number, image, places) for number, image in enumerate(images)]


def _drive(key: int, image: DatastorePath, places: Places) -> vim.vm.device.VirtualDeviceSpec:
    place = places.take(AdapterType.IDE)
    device = vim.vm.device.VirtualCdrom(
        key=key,
        controllerKey=place.controller_key,
        unitNumber=place.unit_number,
        backing=vim.vm.device.VirtualCdrom.IsoBackingInfo(fileName=str(image)),
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, allowGuestControl=True, connected=True
        ),
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=device)
