"""``/screen?id=<managed object id>``: what a guest shows now, as PNG."""

from __future__ import annotations

from aiohttp import web
from pyVmomi import vmodl

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.wire.session import require_session


def routes(kernel: Kernel) -> list[web.RouteDef]:
    """Return the route of ``/screen``."""

    async def screen(request: web.Request) -> web.Response:
        """Send the screen: 404 for an unknown machine, 503 for one that has no screen now."""
        require_session(request)
        try:
            vm = kernel.registry.find(request.query.get("id", ""), Machine)
        except vmodl.fault.ManagedObjectNotFound as error:
            raise web.HTTPNotFound(text="There is no such virtual machine.") from error
        if vm.power_state != "poweredOn":
            raise web.HTTPServiceUnavailable(text="The virtual machine is not powered on.")
        try:
            picture = await kernel.hypervisor.screenshot(vm.moid)
        except HypervisorError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error
        return web.Response(
            body=picture, content_type="image/png", headers={"Cache-Control": "no-store"}
        )

    return [web.get("/screen", screen)]
