"""The pages of ``/folder``: datacenters, their datastores, and the folders of a datastore."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote, urlencode

from aiohttp import web

from vmops.lab import listing
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.datacenter import Datacenter
from vmops.lab.objects.datastore import Datastore
from vmops.lab.objects.datastore_paths import datacenter_path
from vmops.lab.whole_files import is_partial
from vmops.lab.wire.folder_target import Place

_Row = tuple[str, str, str, str]  # name, URL, modification time, size


def inventory_page(kernel: Kernel, place: Place) -> web.Response:
    """List the datacenters or, with one given, its datastores."""
    if place.datacenter is None:
        paths = [datacenter_path(each) for each in kernel.registry.all(Datacenter)]
        return _page("Datacenters", ((path, _url(path), "", "") for path in paths))
    path = datacenter_path(place.datacenter)
    datastores = [
        kernel.registry.find(ref, Datastore) for ref in place.datacenter.properties["datastore"]
    ]
    rows = ((each.name, _url(path, each.name), "", "") for each in datastores)
    return _page(f"Datastores of {path}", rows)


async def folder_page(kernel: Kernel, place: Place, folder: Path) -> web.Response:
    """List a folder of a datastore, which ``place`` must name."""
    path = "" if place.datacenter is None else datacenter_path(place.datacenter)
    rows = await kernel.blocking(_rows, place, path, folder)
    return _page(f"Index of {place.path}", rows)


def _rows(place: Place, datacenter: str, folder: Path) -> list[_Row]:
    name = place.path.datastore
    rows: list[_Row] = []
    if place.path.path:
        rows.append(("Parent folder", _url(datacenter, name, place.path.parent.path), "", ""))
    for entry in listing.entries(folder):
        if is_partial(entry.name) or entry.is_symlink():
            continue
        status = listing.status(Path(entry.path))
        if status is None:
            continue
        below = f"{place.path.path}/{entry.name}".removeprefix("/")
        time = datetime.fromtimestamp(status.st_mtime, UTC).strftime("%d-%b-%Y %H:%M")
        if entry.is_dir():
            rows.append((f"{entry.name}/", _url(datacenter, name, below), time, "-"))
        else:
            rows.append((entry.name, _url(datacenter, name, below), time, str(status.st_size)))
    return rows


def _url(datacenter: str, datastore: str | None = None, path: str = "") -> str:
    query = {"dcPath": datacenter}
    if datastore is not None:
        query["dsName"] = datastore
    return f"/folder{'/' if path else ''}{quote(path)}?{urlencode(query)}"


def _page(title: str, rows: Iterable[_Row]) -> web.Response:
    lines = [
        f'<tr><td><a href="{escape(url)}">{escape(name)}</a></td>'
        f'<td align="right">{time}</td><td align="right">{size}</td></tr>'
        for name, url, time, size in rows
    ]
    body = (
        "<!DOCTYPE html>\n"
        f'<html><head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
        f"<body><h1>{escape(title)}</h1>\n"
        "<table><tr><th>Name</th><th>Last modified</th><th>Size</th></tr>\n"
        + "\n".join(lines)
        + "\n</table></body></html>\n"
    )
    return web.Response(text=body, content_type="text/html", charset="utf-8")
