"""What clients call files: datastore paths and URLs, checked against the inventory."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.file_faults import datastore_of, storage_faults
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.datacenter import Datacenter
from vmops.lab.objects.datastore import Datastore
from vmops.lab.storage.paths import DatastorePath

_URL_SCHEMES = ("https://", "http://")
_VOLUME_URL = "ds:///vmfs/volumes/"


def datastore_path(
    kernel: Kernel, name: str, datacenter: Reference | None, parameter: str = "datacenter"
) -> DatastorePath:
    """Return the file a client names by datastore path or URL.

    Args:
        kernel: the lab.
        name: ``[ds] a/b``, ``https://host/folder/a/b?dcPath=..&dsName=..``, or
            ``ds:///vmfs/volumes/<uuid>/a/b``.
        datacenter: reference to the datacenter of a datastore path; only an ESXi does without.
        parameter: what the API calls that reference, for the fault.

    Raises:
        vmodl.fault.InvalidArgument: a vCenter needs the datacenter, and it is missing.
        vmodl.fault.ManagedObjectNotFound: there is no such datacenter.
        vim.fault.InvalidDatastorePath: malformed, leaves its datastore, or the datastore is not
            in the datacenter.
    """
    if name.startswith(_URL_SCHEMES):
        return _path_of_url(kernel, name)
    if name.startswith(_VOLUME_URL):
        return _path_of_volume_url(kernel, name)
    with storage_faults(name):
        path = DatastorePath.parse(name)
    if datacenter is not None:
        find_datastore(kernel, path.datastore, kernel.registry.find(datacenter, Datacenter), name)
    elif kernel.settings.esx:
        find_datastore(kernel, path.datastore, None, name)
    else:
        raise invalid_argument(parameter, "A datastore path needs its datacenter on vCenter.")
    return path


def source_and_target(
    kernel: Kernel,
    source: str,
    source_datacenter: Reference | None,
    target: str,
    target_datacenter: Reference | None,
    target_parameter: str,
) -> tuple[DatastorePath, DatastorePath]:
    """Return both ends of a move or copy; without a datacenter the target is in the source's."""
    if target_datacenter is None:
        target_datacenter = source_datacenter
    return (
        datastore_path(kernel, source, source_datacenter, "sourceDatacenter"),
        datastore_path(kernel, target, target_datacenter, target_parameter),
    )


def find_datastore(
    kernel: Kernel, name: str, datacenter: Datacenter | None, path: str
) -> Datastore:
    """Return the datastore of a name, which must be in the datacenter if one is given.

    Raises:
        vim.fault.InvalidDatastorePath: there is none; the fault names ``path``.
    """
    inside = None
    if datacenter is not None:
        inside = {ref._moId for ref in datacenter.properties["datastore"]}
    for datastore in kernel.registry.all(Datastore):
        if datastore.name == name and (inside is None or datastore.moid in inside):
            return datastore
    raise vim.fault.InvalidDatastorePath(
        datastorePath=path, name=name, msg=f"There is no datastore '{name}' there."
    )


def datastores_of(kernel: Kernel, *paths: DatastorePath) -> list[Datastore]:
    """Return the datastores that the paths are on."""
    names = {path.datastore for path in paths}
    return [each for each in kernel.registry.all(Datastore) if each.name in names]


def datacenter_path(datacenter: Datacenter) -> str:
    """Return the inventory path of a datacenter without a leading slash: ``folder/DC0``."""
    names = [datacenter.name]
    above = datacenter.parent
    while above is not None and above.parent is not None:
        names.insert(0, above.name)
        above = above.parent
    return "/".join(names)


def find_datacenter(kernel: Kernel, path: str) -> Datacenter | None:
    """Return the datacenter of an inventory path (``dcPath``), None if there is none."""
    wanted = path.strip("/")
    for datacenter in kernel.registry.all(Datacenter):
        if datacenter_path(datacenter) == wanted:
            return datacenter
    return None


def _path_of_url(kernel: Kernel, url: str) -> DatastorePath:
    bad = vim.fault.InvalidDatastorePath(datastorePath=url, msg="The URL names no file.")
    try:
        parts = urlsplit(url)
        path = unquote(parts.path, errors="strict")
        query = parse_qs(parts.query, errors="strict")
    except ValueError as error:
        raise bad from error
    name = query.get("dsName", [""])[0]
    datacenter = None
    if "dcPath" in query:
        datacenter = find_datacenter(kernel, query["dcPath"][0])
    if not path.startswith("/folder/") or (datacenter is None and not kernel.settings.esx):
        raise bad
    find_datastore(kernel, name, datacenter, url)
    with storage_faults(url):
        return DatastorePath.parse(f"[{name}] {path.removeprefix('/folder/')}")


def _path_of_volume_url(kernel: Kernel, url: str) -> DatastorePath:
    for datastore in kernel.registry.all(Datastore):
        if f"{url}/".startswith(datastore.url):
            with storage_faults(url):
                return DatastorePath.parse(f"[{datastore.name}] {url[len(datastore.url) :]}")
    raise vim.fault.InvalidDatastorePath(
        datastorePath=url, name=datastore_of(url), msg="There is no such volume."
    )
