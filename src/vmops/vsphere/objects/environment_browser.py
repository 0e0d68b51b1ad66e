"""What machines a cluster's hosts can have."""

from __future__ import annotations

from vmops.errors import NotSupported
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref


def hardware_versions(session: Session, compute_resource: Moref) -> tuple[str, ...]:
    """The hardware versions that new machines can have there; () where the server does not tell.

    Two calls; the words are those of the wire, "vmx-19".
    """
    found = session.properties.read_one(compute_resource, "environmentBrowser")
    browser = found.get("environmentBrowser")
    if browser is None:
        return ()
    try:
        descriptors = session.call(browser, "QueryConfigOptionDescriptor")
    except NotSupported:
        return ()
    return tuple(str(each.key) for each in descriptors or () if each.createSupported is not False)
