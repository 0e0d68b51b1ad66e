"""The lifecycle of virtual machines on VMware vSphere.

The public names; each is loaded when it is first used, so that ``import vmops`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmops.images.directory_store import DirectoryImageStore
    from vmops.model.image import Image, ImageProperties
    from vmops.model.instance import Flavor, Instance, InstanceInfo, Vif
    from vmops.ops.engine.settings import EngineSettings
    from vmops.ops.vmops.vmops import VMwareVMOps
    from vmops.vsphere.connection import connect
    from vmops.vsphere.session import Session
    from vmops.vsphere.wire.limits import Limits

__version__ = "0.1.0"

__all__ = [
    "DirectoryImageStore",
    "EngineSettings",
    "Flavor",
    "Image",
    "ImageProperties",
    "Instance",
    "InstanceInfo",
    "Limits",
    "Session",
    "VMwareVMOps",
    "Vif",
    "__version__",
    "connect",
]

_HOMES = {
    "DirectoryImageStore": "vmops.images.directory_store",
    "EngineSettings": "vmops.ops.engine.settings",
    "Flavor": "vmops.model.instance",
    "Image": "vmops.model.image",
    "ImageProperties": "vmops.model.image",
    "Instance": "vmops.model.instance",
    "InstanceInfo": "vmops.model.instance",
    "Limits": "vmops.vsphere.wire.limits",
    "Session": "vmops.vsphere.session",
    "VMwareVMOps": "vmops.ops.vmops.vmops",
    "Vif": "vmops.model.instance",
    "connect": "vmops.vsphere.connection",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of any type
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
