"""The storage policy service of a vCenter: SOAP under ``/pbm``, with types and objects of its own.

Who calls is known by the session of the main service, in the SOAP header ``vcSessionCookie`` that
vCenter asks for, or in the cookie.
"""

from __future__ import annotations

from aiohttp import web

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.session_manager import SessionManager
from vmops.lab.kernel.sessions import Exchange, Session
from vmops.lab.objects.policy_service import add_policy_service
from vmops.lab.wire.app import Soap
from vmops.lab.wire.dispatch import Dispatcher, Service
from vmops.lab.wire.wire_log import WireLog

_VERSION = "pbm.version.v8_0_3_0"
_HEADER = "vcSessionCookie"


def add_policies(
    app: web.Application, kernel: Kernel, sessions: SessionManager, wire_log: WireLog
) -> None:
    """Serve the policies of a lab that is a vCenter; a single ESXi has no such service."""
    if kernel.settings.esx:
        return

    def session_of(headers: dict[str, str], exchange: Exchange) -> Session | None:
        token = headers.get(_HEADER, "")
        return exchange.session if not token else sessions.by_token(token)

    # Its objects are apart from the main service's: both have one called "ServiceInstance".
    own = Kernel(kernel.settings, kernel.hypervisor)
    add_policy_service(own, kernel)
    service = Service(namespace="pbm", version=_VERSION, session_of=session_of)
    soap = Soap(Dispatcher(own, wire_log, service))
    app.add_routes([web.post("/pbm", soap.answer), web.post("/pbm/sdk", soap.answer)])
