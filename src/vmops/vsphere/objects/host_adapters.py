"""A host's storage adapters."""

from __future__ import annotations

from pyVmomi import vim

from vmops.errors import InvalidArgument
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref

_ADAPTERS = "config.storageDevice.hostBusAdapter"


def iscsi_name(session: Session, host: Moref) -> str | None:
    """The name (IQN) by which a host's iSCSI adapter logs in; None: it has no such adapter."""
    try:
        found = session.properties.read_one(host, _ADAPTERS)
    except InvalidArgument:
        return None
    for adapter in found.get(_ADAPTERS) or ():
        if isinstance(adapter, vim.host.InternetScsiHba):
            return str(adapter.iScsiName)
    return None
