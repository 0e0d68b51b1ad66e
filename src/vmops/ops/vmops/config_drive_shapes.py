"""The border for the config drive: what a caller gives and what Nova's instance has become one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmops.errors import Invalid
from vmops.images.config_drive import ConfigDrive, GuestFile
from vmops.model.host_name import guest_host_name
from vmops.model.instance import Instance, Vif
from vmops.ops.spawn.config_drive import network_data
from vmops.ops.vmops.shapes import Shape, field, host_name

_YES = {"true", "yes", "on", "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestData:
    """What a caller has for the guest besides the instance.

    ``wanted`` None: the instance says whether it gets a config drive, and it does if there is user
    data, a file or a key, for which there is no other way into the guest.
    """

    wanted: bool | None = None
    user_data: bytes | str | None = None
    injected_files: Iterable[tuple[str, bytes | str]] | None = None
    public_keys: Mapping[str, str] | None = None
    admin_password: str | None = None

    def __repr__(self) -> str:
        return f"GuestData(wanted={self.wanted})"


def make_config_drive(
    shape: Shape,
    instance: Instance,
    vifs: Sequence[Vif],
    data: GuestData,
    *,
    is_required: bool = False,
) -> ConfigDrive | None:
    """The config drive that an instance gets; None if it gets none.

    ``shape`` is the instance as the caller gave it: Nova's has user data (base64), a key, metadata,
    a host name and more. What ``data`` has wins. ``is_required`` says that the image or the engine
    wants one.

    Raises:
        Invalid: there is something for the guest, but ``data.wanted`` is False; or the instance's
            user data is not base64.
    """
    given = data.user_data or data.injected_files or data.public_keys
    if data.wanted is False:
        if given:
            raise Invalid("User data, files and keys reach the guest by a config drive only.")
        return None
    if not (data.wanted or given or is_required or _says_so(shape)):
        return None
    return ConfigDrive(
        uuid=instance.uuid,
        name=str(field(shape, "display_name") or instance.name),
        hostname=host_name(shape) or guest_host_name(instance.name, instance.uuid),
        project_id=instance.project_id,
        availability_zone=str(field(shape, "availability_zone", default="")),
        launch_index=int(field(shape, "launch_index", default=0)),
        metadata={str(k): str(v) for k, v in field(shape, "metadata", default={}).items()},
        public_keys=data.public_keys or _key(shape),
        user_data=_bytes(data.user_data) if data.user_data else _user_data(shape),
        network_data=network_data(vifs),
        files=tuple(
            GuestFile(path=str(path), content=_bytes(content))
            for path, content in data.injected_files or ()
        ),
        admin_password=data.admin_password or "",
    )


def _says_so(shape: Shape) -> bool:
    """Nova's ``config_drive`` is a text, which is empty for no."""
    return str(field(shape, "config_drive", default="")).strip().lower() in _YES


def _key(shape: Shape) -> dict[str, str]:
    data = field(shape, "key_data")
    return {str(field(shape, "key_name", default="default")): str(data)} if data else {}


def _user_data(shape: Shape) -> bytes:
    try:
        return base64.b64decode(str(field(shape, "user_data", default="")), validate=True)
    except binascii.Error:
        raise Invalid("The instance's user data is not base64.") from None


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else bytes(content)
