"""Which datacenter, datastore and file the URL of ``/folder`` means."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web
from pyVmomi import vim

from vmops.lab.inventory.container import datacenter_of
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.datacenter import Datacenter
from vmops.lab.objects.datastore import Datastore
from vmops.lab.objects.datastore_paths import find_datacenter, find_datastore
from vmops.lab.storage.errors import InvalidDatastorePath
from vmops.lab.storage.paths import DatastorePath

_PREFIX = "/folder"
_ESX_DATACENTER = "ha-datacenter"


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL names; without a datastore it is a page and ``path`` has no meaning."""

    datacenter: Datacenter | None
    datastore: Datastore | None
    path: DatastorePath


def place_of(kernel: Kernel, request: web.Request) -> Place:
    """Read the URL.

    Raises:
        web.HTTPNotFound: no such datacenter, or no such datastore in it.
        web.HTTPBadRequest: the path is malformed or leaves the datastore, or a path is given
            without a datastore.
    """
    path = _path(request)
    query = request.query
    datacenter = _datacenter(kernel, request.host, query.get("dcPath"))
    if "dsName" not in query:
        if path:
            raise web.HTTPBadRequest(text="dsName, the datastore's name, is missing.")
        return Place(datacenter, None, DatastorePath("none"))
    if datacenter is None:
        raise web.HTTPBadRequest(text="dcPath, the datacenter's inventory path, is missing.")
    name = query["dsName"]
    try:
        parsed = DatastorePath(name).joined(path) if path else DatastorePath(name)
        datastore = find_datastore(kernel, parsed.datastore, datacenter, str(parsed))
    except InvalidDatastorePath as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    except vim.fault.InvalidDatastorePath as error:
        raise web.HTTPNotFound(text="There is no such datastore in the datacenter.") from error
    return Place(datacenter, datastore, parsed)


def _path(request: web.Request) -> str:
    # The URL as it was sent: what a normaliser makes of "%2e%2e" is not for it to decide.
    raw = request.rel_url.raw_path
    try:
        path = unquote(raw[len(_PREFIX) :], errors="strict")
    except UnicodeDecodeError as error:
        raise web.HTTPBadRequest(text="The path is not UTF-8.") from error
    return path.removeprefix("/").removesuffix("/")


def _datacenter(kernel: Kernel, host: str, path: str | None) -> Datacenter | None:
    if path in {None, _ESX_DATACENTER} and (of_host := _datacenter_of_host(kernel, host)):
        return of_host
    if path is not None:
        datacenter = find_datacenter(kernel, path)
        if datacenter is None:
            raise web.HTTPNotFound(text="There is no such datacenter.")
        return datacenter
    if kernel.settings.esx:
        return next(iter(kernel.registry.all(Datacenter)), None)
    return None


def _datacenter_of_host(kernel: Kernel, host: str) -> Datacenter | None:
    """Return the datacenter of the host that the ``Host`` header names, if it names one.

    Hosts of a vCenter serve their own ``/folder``, and each calls its one datacenter
    ``ha-datacenter``; those of the lab are all at the lab's address.
    """
    name = host.rpartition(":")[0] or host
    for each in kernel.registry.all(HostSystem):
        if each.name.lower() == name.lower():
            return kernel.registry.find(datacenter_of(each).ref, Datacenter)
    return None
