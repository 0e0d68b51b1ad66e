"""Remote consoles: VNC as ESXi 6 has it, and WebMKS tickets, which later ones have instead."""

from __future__ import annotations

import contextlib
import secrets
import string
import threading
from collections.abc import Iterator
from typing import NotRequired, TypedDict
from weakref import WeakKeyDictionary

from vmops.errors import ConsoleTypeUnavailable, Exhausted, InvalidPowerState, NotSupported
from vmops.model import extra_config
from vmops.model.power import PowerState
from vmops.numbers import PORT_MAX, whole_number
from vmops.ops.engine.settings import EngineSettings
from vmops.ops.guard.states import called, must_run, read_state
from vmops.vsphere.objects.tickets import acquire_ticket
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

_LAST_WITH_VNC = 6
_PORT = f'config.extraConfig["{extra_config.VNC_PORT}"]'
_PASSWORD_LENGTH = 8  # VNC authentication uses no more of it (RFC 6143, 7.2.2)


# Engines on one session share the ports that spawns under way have taken.
_guard = threading.Lock()
_reserved: WeakKeyDictionary[Session, set[int]] = WeakKeyDictionary()


class VncConsole(TypedDict):
    """Where a console is, in the form of Nova's class.

    ``internal_access_path`` is None for plain VNC. Otherwise the console is a WebSocket with
    subprotocol "binary" at ``wss://host:port`` and this path, which is a secret that works once;
    ``thumbprint`` is that of the WebSocket's certificate. ``password`` is plain VNC's.
    """

    host: str
    port: int
    internal_access_path: str | None
    thumbprint: NotRequired[str]
    password: NotRequired[str]


def get_vnc_console(vm: VirtualMachine, settings: EngineSettings, *, at_host: bool) -> VncConsole:
    """Where to connect to an instance's screen.

    Plain VNC is at the endpoint's address, or with ``at_host`` at the name of the host that runs
    the VM now. A WebMKS ticket names its host itself.

    Raises:
        InstanceNotFound: there is no such instance.
        ConsoleTypeUnavailable: it is not running, or the endpoint has no console for it.
    """
    if _has_vnc(vm.session, settings):
        return _plain_vnc(vm.session, vm, at_host=at_host)
    try:
        ticket = acquire_ticket(vm.session, vm)
    except InvalidPowerState as refusal:
        raise ConsoleTypeUnavailable(must_run(called(vm), read_state(vm))) from refusal
    except NotSupported as refusal:
        raise ConsoleTypeUnavailable(f"{called(vm)} has no console now: {refusal}") from refusal
    return VncConsole(
        host=ticket.host,
        port=ticket.port,
        internal_access_path=f"/ticket/{ticket.ticket}",
        thumbprint=ticket.thumbprint,
    )


def _has_vnc(session: Session, settings: EngineSettings) -> bool:
    """Whether plain VNC is to be used: as the settings say, else by the endpoint's version."""
    if settings.console != "auto":
        return settings.console == "vnc"
    major = whole_number(session.endpoint.api_version.partition(".")[0])
    return major is not None and major <= _LAST_WITH_VNC


def _plain_vnc(session: Session, vm: VirtualMachine, *, at_host: bool) -> VncConsole:
    found = vm.read("config.extraConfig", "runtime.host", "runtime.powerState")
    options = {str(o.key): str(o.value) for o in found.get("config.extraConfig") or ()}
    port = whole_number(options.get(extra_config.VNC_PORT, ""), PORT_MAX)
    enabled = options.get(extra_config.VNC_ENABLED, "").lower() == "true"
    if not enabled or not port:
        raise ConsoleTypeUnavailable(
            f"{called(vm)} has no VNC: its {extra_config.VNC_PORT} is not set."
        )
    if found.get("runtime.powerState") != PowerState.POWERED_ON:
        raise ConsoleTypeUnavailable(must_run(called(vm), read_state(vm)))
    host = session.endpoint.host
    if at_host and (moref := found.get("runtime.host")) is not None:
        moid = str(moref._moId)
        host = next((h.name for h in session.inventory.hosts() if h.moid == moid), host)
    console = VncConsole(host=host, port=port, internal_access_path=None)
    if password := options.get(extra_config.VNC_PASSWORD):
        console["password"] = password
    return console


class VncPorts:
    """Ports for plain VNC, each given once: a VM may come to run on any host.

    What other processes are about to give is not known here: those that spawn at the same endpoint
    at the same time need ranges of their own.
    """

    def __init__(self, session: Session, settings: EngineSettings) -> None:
        self._session = session
        self._settings = settings
        with _guard:
            self._reserved = _reserved.setdefault(session, set())

    @contextlib.contextmanager
    def reserve(self) -> Iterator[dict[str, str]]:
        """The extraConfig of a new VM's VNC; its port is kept for it until the context ends.

        By then the VM has to be there. Nothing where the settings give no ports.

        Raises:
            Exhausted: all ports are taken.
        """
        first = self._settings.vnc_port
        if first is None:
            yield {}
            return
        port = self._take(range(first, first + self._settings.vnc_port_total))
        try:
            yield {
                extra_config.VNC_ENABLED: "TRUE",
                extra_config.VNC_PORT: str(port),
                extra_config.VNC_PASSWORD: self._settings.vnc_password or _new_password(),
            }
        finally:
            with _guard:
                self._reserved.discard(port)

    def _take(self, ports: range) -> int:
        # Looked up under the guard: a VM must not come between the look and the choice.
        with _guard:
            taken = self._ports_of_vms() | self._reserved
            port = next((port for port in ports if port not in taken), None)
            if port is None:
                raise Exhausted(f"All VNC ports from {ports.start} to {ports.stop - 1} are taken.")
            self._reserved.add(port)
            return port

    def _ports_of_vms(self) -> set[int]:
        there = self._session.properties.read_container("VirtualMachine", (_PORT,))
        found = [values[_PORT].value for values in there.values() if _PORT in values]
        if there and not found:
            # Some servers do not serve one key of a list: read the whole list then.
            whole = self._session.properties.read_container(
                "VirtualMachine", ("config.extraConfig",)
            )
            found = [
                option.value
                for values in whole.values()
                for option in values.get("config.extraConfig") or ()
                if option.key == extra_config.VNC_PORT
            ]
        ports = (whole_number(port, PORT_MAX) for port in found)
        return {port for port in ports if port is not None}


def _new_password() -> str:
    letters = string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for _ in range(_PASSWORD_LENGTH))
