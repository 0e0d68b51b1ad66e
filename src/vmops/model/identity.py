"""What a virtual machine is to vmops: an instance, the holder of a volume, or somebody else's.

Both carry their UUID twice: as the machine's instance UUID, which a vCenter gives to one machine
alone, and in ``extraConfig``, which says that it is ours. A copy that somebody makes has the
original's ``extraConfig`` and an instance UUID of its own: it is the copier's, whatever it says.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.model import extra_config
from vmops.model.uuid_text import is_uuid


def instance_of(instance_uuid: str | None, settings: Mapping[str, object]) -> str:
    """The UUID of the instance that a machine is, "" if it is none of ours."""
    return _told_twice(instance_uuid, settings.get(extra_config.INSTANCE_UUID))


def instance_by_its_file(vm_path_name: str) -> str:
    """The UUID of the instance that a machine is whose configuration nobody can read; "" if none.

    Then only its file's name is left, and an instance's has its UUID in it twice:
    "[datastore1] <uuid>/<uuid>.vmx". Good enough to show it, and not to change it.
    """
    folder, _, file = vm_path_name.partition("] ")[2].rpartition("/")
    name = folder.rpartition("/")[2]
    return name if is_uuid(name) and file.removesuffix(".vmx") == name else ""


def made_volume_of(instance_uuid: str | None, settings: Mapping[str, object]) -> str:
    """The id of the volume that a machine was made to hold, "" if it was not."""
    return _told_twice(instance_uuid, settings.get(extra_config.MADE_VOLUME))


def _told_twice(instance_uuid: str | None, told: object) -> str:
    uuid = str(told or "")
    return uuid if uuid and uuid.lower() == str(instance_uuid or "").lower() else ""
