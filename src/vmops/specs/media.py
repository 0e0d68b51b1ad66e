"""Disks and CD-ROM drives of a new virtual machine, attached in one call."""

from __future__ import annotations

from dataclasses import dataclass

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.specs import cdrom, disks
from vmops.specs.extra_config import option_values
from vmops.specs.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMedia:
    """The disks and CD-ROM drives that a new VM gets, in the order of their places."""

    root: disks.RootDisk | None = None
    extra: tuple[disks.ExtraDisk, ...] = ()
    cdroms: tuple[DatastorePath, ...] = ()
    """ISO images, each with a drive of its own."""
    storage_policy: str = ""
    """The id of the policy of all the disks; "": the datastore's own."""

    @property
    def created(self) -> tuple[DatastorePath, ...]:
        """The disks whose files come into being by being attached."""
        root = (self.root.path,) if self.root is not None and self.root.is_created else ()
        return (*root, *(disk.path for disk in self.extra if not disk.is_there))


def attach(
    media: NewMedia, settings: dict[str, str], places: Places | None = None
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that attaches disks and CD-ROM drives and sets extraConfig keys.

    ``places`` None: the VM has none yet.

    Raises:
        UnsupportedDevice: there is no place for all of them.
    """
    places = places or Places()
    root = media.root
    devices = [disks.root_disk(root, places.take(root.adapter))] if root is not None else []
    devices += disks.create_disks(media.extra, places)
    if media.storage_policy:
        for change in devices:
            change.profile = [vim.vm.DefinedProfileSpec(profileId=media.storage_policy)]
    devices += cdrom.insert(media.cdroms, places)
    return vim.vm.ConfigSpec(
        deviceChange=[*places.changes(), *devices], extraConfig=option_values(settings)
    )
