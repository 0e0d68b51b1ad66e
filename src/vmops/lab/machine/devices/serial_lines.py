"""Serial ports on a TCP connection: what their addresses say, and what a .vmx file says of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pyVmomi import vim

from vmops.lab.hypervisor.port import Concentrator, NetworkSerialPort

_SERIAL = vim.vm.device.VirtualSerialPort
UriBacking = _SERIAL.URIBackingInfo
_URI = re.compile(r"(?P<scheme>tcp4?|telnet)://(?P<host>[A-Za-z0-9.-]*):(?P<port>[0-9]{1,5})/?")
_ANY = frozenset({"", "0.0.0.0", "127.0.0.1", "localhost"})  # noqa: S104 - the lab uses 127.0.0.1


class Line(NamedTuple):
    """Where a port listens, or whom it connects to."""

    host: str
    port: int
    telnet: bool


def line_of(backing: UriBacking) -> Line:
    """Read a backing.

    Raises:
        ValueError: the lab cannot serve it; the text says why.
    """
    if backing.direction not in ("server", "client"):
        raise ValueError("the direction is server or client.")
    if backing.proxyURI:
        return _proxy(backing)
    found = _URI.fullmatch(backing.serviceURI or "")
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError("the address is telnet://host:port or tcp://host:port.")
    host = found["host"]
    if backing.direction == "server" and host not in _ANY:
        raise ValueError("a server listens on 127.0.0.1 and nowhere else.")
    if backing.direction == "client" and not host:
        raise ValueError("a client needs a host to connect to.")
    return Line(host or "127.0.0.1", int(found["port"]), found["scheme"] == "telnet")


def _proxy(backing: UriBacking) -> Line:
    """Read the address of a concentrator; what it is asked to stand in for may be any text."""
    found = _URI.fullmatch(backing.proxyURI or "")
    is_telnet = found is not None and found["scheme"] == "telnet"
    if found is None or not is_telnet or not found["host"] or not 0 < int(found["port"]) < 65536:
        raise ValueError("the address of a concentrator is telnet://host:port.")
    if not backing.serviceURI:
        raise ValueError("a concentrator is asked to serve an address, and none is given.")
    return Line(found["host"], int(found["port"]), telnet=True)


def network_port(
    port: vim.vm.device.VirtualSerialPort, config: vim.vm.ConfigInfo
) -> NetworkSerialPort:
    """Build what the hypervisor needs of a port, with such a backing, of a machine."""
    backing = uri_backing(port)
    line = line_of(backing)
    direction: Literal["server", "client"] = "server" if backing.direction == "server" else "client"
    told = None
    if backing.proxyURI:
        told = Concentrator(
            service_uri=backing.serviceURI,
            direction=direction,
            vm_name=config.name,
            vc_uuid=config.instanceUuid or "",
            bios_uuid=config.uuid,
        )
    return NetworkSerialPort(
        key=port.key,
        direction="client" if told is not None else direction,
        port=line.port,
        host=line.host,
        telnet=line.telnet,
        concentrator=told,
    )


def uri_backing(port: vim.vm.device.VirtualSerialPort) -> UriBacking:
    """Return the connection that a port is on."""
    backing = port.backing
    if not isinstance(backing, UriBacking):
        raise TypeError(f"the port {port.key} is on no connection")
    return backing


def is_network(port: vim.vm.device.VirtualDevice) -> bool:
    """Say whether a serial port is on a connection, not on a file."""
    return isinstance(port.backing, UriBacking)


def written_line(backing: UriBacking) -> Iterator[tuple[str, str]]:
    """Yield the entries of such a backing."""
    yield "fileType", "network"
    yield "fileName", str(backing.serviceURI)
    yield "network.endPoint", str(backing.direction)
    if backing.proxyURI:
        yield "vspc", str(backing.proxyURI)


def read_line(uri: str, end_point: str | None, proxy: str | None = None) -> UriBacking | None:
    """Build the backing of a .vmx file's entries; None if they make no sense."""
    backing = UriBacking(serviceURI=uri, direction=end_point or "server", proxyURI=proxy)
    try:
        line_of(backing)
    except ValueError:
        return None
    return backing
