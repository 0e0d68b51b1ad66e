"""The notes of volumes' disks that the server had moved away from their shadow VMs.

One is written in the change that detaches such a disk, and goes when the shadow VM has it back: who
dies in between leaves a note of where the disk is.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.specs import extra_config

_PREFIX = extra_config.MOVED_VOLUME.format(volume="")


def moved_volumes(settings: Mapping[str, str]) -> dict[str, str]:
    """The disks' paths by the volumes' ids, from a VM's ``extraConfig``."""
    return {
        key.removeprefix(_PREFIX): path
        for key, path in settings.items()
        if key.startswith(_PREFIX) and path
    }
