"""The notes of attached volumes: ``volume-<volume id>`` has the UUID of the volume's disk."""

from __future__ import annotations

from collections.abc import Mapping

from vmops.model import extra_config


def noted_volumes(settings: Mapping[str, str]) -> dict[str, str]:
    """The disks' UUIDs by the volumes' ids, from a VM's ``extraConfig``."""
    return {
        key.removeprefix(extra_config.VOLUME_PREFIX): value
        for key, value in settings.items()
        if key.startswith(extra_config.VOLUME_PREFIX) and value
    }
