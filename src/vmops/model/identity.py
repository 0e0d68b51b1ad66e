"""What a virtual machine is to vmops: an instance, the holder of a volume, or somebody else's.

Both carry their UUID twice: as the machine's instance UUID, which a vCenter gives to one machine
alone, and in ``extraConfig``, which says that it is ours. A copy that somebody makes has the
original's ``extraConfig`` and an instance UUID of its own: it is the copier's, whatever it says.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.model import extra_config


def instance_of(instance_uuid: str | None, settings: Mapping[str, object]) -> str:
    """The UUID of the instance that a machine is, "" if it is none of ours."""
    return _told_twice(instance_uuid, settings.get(extra_config.INSTANCE_UUID))


def made_volume_of(instance_uuid: str | None, settings: Mapping[str, object]) -> str:
    """The id of the volume that a machine was made to hold, "" if it was not."""
    return _told_twice(instance_uuid, settings.get(extra_config.MADE_VOLUME))


def _told_twice(instance_uuid: str | None, told: object) -> str:
    uuid = str(told or "")
    return uuid if uuid and uuid.lower() == str(instance_uuid or "").lower() else ""
