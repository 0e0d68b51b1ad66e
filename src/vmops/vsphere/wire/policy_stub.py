"""Calls to vCenter's storage policy service, which has an address and a namespace of its own.

It knows the caller by the session of the main service: vCenter wants that in a SOAP header, others
take the cookie.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from pyVmomi import VmomiSupport, pbm

from vmops.errors import NotSupported, Unavailable
from vmops.vsphere.wire.moref import Moref
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.stub import Stub

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

PATH = "/pbm"
_VERSION = "pbm/6.5"  # the oldest with all that is asked here; later services answer it too
_HEADER = "vcSessionCookie"

SERVICE_INSTANCE = pbm.ServiceInstance("ServiceInstance")


class PolicyStub(Stub):
    """Speaks to the storage policy service as whoever is logged in at the main one."""

    def __init__(self, pool: ConnectionPool, main: Stub) -> None:
        super().__init__(pool, PATH)
        self._main = main
        self.ComputeVersionInfo(VmomiSupport.versionMap[_VERSION])

    def _no_soap(self, status: int, reason: str) -> Unavailable:
        if status == HTTPStatus.NOT_FOUND:
            raise NotSupported(f"{self.pool.address.netloc} has no storage policy service.")
        return super()._no_soap(status, reason)

    def _request(
        self, moref: Moref, info: MethodInfo, arguments: list[object], operation_id: str
    ) -> bytes:
        self.cookie = self._main.cookie
        context = VmomiSupport.GetRequestContext()  # of this thread
        context[_HEADER] = self.cookie.partition("=")[2].strip('"')
        try:
            return super()._request(moref, info, arguments, operation_id)
        finally:
            context.pop(_HEADER, None)
