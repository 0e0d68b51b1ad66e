"""What calls do to hosts and to what a whole endpoint has."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from vmops.vsphere.planning.site import Arguments, Effect, Site
from vmops.vsphere.wire.moref import Moref

_PORT_GROUPS = "networkInfo.portgroup"


def _add_port_group(site: Site, system: Moref, arguments: Arguments) -> None:
    spec, there = arguments["portgrp"], _port_groups(site, system)
    if any(each.spec.name == spec.name for each in there):
        site.refuse(vim.fault.AlreadyExists(name=spec.name))
    site.world.change(system, {_PORT_GROUPS: [*there, vim.host.PortGroup(spec=spec)]})


def _remove_port_group(site: Site, system: Moref, arguments: Arguments) -> None:
    there = _port_groups(site, system)
    left = [each for each in there if each.spec.name != arguments["pgName"]]
    if len(left) == len(there):
        site.refuse(vim.fault.NotFound())
    site.world.change(system, {_PORT_GROUPS: left})


def _port_groups(site: Site, system: Moref) -> list[Any]:
    return list(site.read(system, _PORT_GROUPS).get(_PORT_GROUPS) or ())


def _register_extension(site: Site, manager: Moref, arguments: Arguments) -> None:
    extension = arguments["extension"]
    site.world.extensions[str(extension.key)] = extension


EFFECTS: dict[str, Effect] = {
    "AddPortGroup": _add_port_group,
    "RemovePortGroup": _remove_port_group,
    "RegisterExtension": _register_extension,
}
