"""What the tools inside a guest tell the lab, and what the lab asks of them.

The counterpart of VMware Tools: a program in the guest that says it is alive, which addresses the
guest has, and that carries out what only the guest itself can do. The guest is not trusted: all
that stands here has been checked before.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal, Protocol

from vmops.lab.hypervisor.errors import HypervisorError

ToolsCommand = Literal["shutdown", "reboot", "standby", "freeze", "thaw"]
Heartbeat = Literal["gray", "green", "yellow", "red"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestNic:
    """A network card as the guest sees it; ``mac_address`` is in lower case."""

    name: str
    mac_address: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsState:
    """What is known of a guest's tools now."""

    version: str | None = None
    """Of the tools that were last heard of since the guest was powered on; None: none were."""
    running: bool = False
    """Whether they were heard of lately; what follows is empty if not."""
    heartbeat: Heartbeat = "gray"
    """green: heard in time; yellow: overdue; red: silent for too long; gray: not expected."""
    ending: Literal["shuttingDown", "resetting"] | None = None
    """What the guest is about to do, as it was asked to."""
    host_name: str | None = None
    nics: tuple[GuestNic, ...] = ()


NO_TOOLS = ToolsState()
"""No tools were heard of."""


class ToolsNotRunning(HypervisorError):
    """No tools run in the guest, or they ended or did not answer in time."""


class ToolsRefused(HypervisorError):
    """The tools could not do what was asked. ``kind`` says whose fault it is, the text why."""

    def __init__(self, command: str, kind: Literal["application", "filesystem"], text: str) -> None:
        super().__init__(f"the guest's tools refuse to {command}: {text}")
        self.kind = kind


class InfoRefused(Exception):
    """A value of the guest's is not accepted; the text is for the guest to read."""


class ToolsListener(Protocol):
    """Who is told what guests say. All methods are called on the lab's event loop."""

    def tools_changed(self, key: str) -> None:
        """The state of a machine's tools is another one now."""

    def info_get(self, key: str, name: str) -> str | None:
        """Return the value of ``name`` (``guestinfo.*``), None if it has none."""

    def info_set(self, key: str, name: str, value: str) -> None:
        """Take a value the guest gives; an empty one removes the name.

        Raises:
            InfoRefused: it is too large, or the machine's configuration forbids it.
        """


class NobodyListens:
    """`ToolsListener` of a hypervisor without a lab around it."""

    def tools_changed(self, key: str) -> None:
        """Nobody is told of a change."""

    def info_get(self, key: str, name: str) -> str | None:
        """Return that there is no value."""
        return None

    def info_set(self, key: str, name: str, value: str) -> None:
        """Refuse the value."""
        raise InfoRefused("it is not kept")
