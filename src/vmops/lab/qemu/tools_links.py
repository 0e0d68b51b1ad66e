"""The lines to the tools of all guests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from vmops.lab.hypervisor.tools import (
    NO_TOOLS,
    NobodyListens,
    ToolsCommand,
    ToolsListener,
    ToolsNotRunning,
    ToolsState,
)
from vmops.lab.qemu.guest import Guest
from vmops.lab.qemu.tools_link import ToolsLink

SOCKET = "tools"
"""The file of the channel's socket in a guest's directory."""


class ToolsLinks:
    """One `ToolsLink` for each guest that runs."""

    def __init__(self) -> None:
        self.listener: ToolsListener = NobodyListens()
        self._links: dict[str, ToolsLink] = {}
        self._followers: set[asyncio.Task[None]] = set()

    def follow(self, guest: Guest) -> None:
        """Connect to a guest's tools until it ends; it takes the place of one of the same key."""

        def socket_file() -> Path:
            return guest.directory / SOCKET  # which changes when the guest has moved

        before = self._links.get(guest.key)
        noticed = NO_TOOLS if before is None else before.noticed
        link = ToolsLink(guest.key, socket_file, self.listener, noticed=noticed)
        self._links[guest.key] = link
        link.open()
        follower = asyncio.create_task(self._let_go(guest, link, before))
        self._followers.add(follower)
        follower.add_done_callback(self._followers.discard)

    def state(self, key: str) -> ToolsState:
        """Return what is known of a machine's tools."""
        link = self._links.get(key)
        return NO_TOOLS if link is None else link.state

    def machine_was_reset(self, key: str) -> None:
        """Take note that a guest starts anew."""
        link = self._links.get(key)
        if link is not None:
            link.machine_was_reset()

    async def command(self, key: str, command: ToolsCommand) -> None:
        """Have a guest's tools do something; see `ToolsLink.command`.

        Raises:
            ToolsNotRunning, ToolsRefused: see there.
        """
        link = self._links.get(key)
        if link is None:
            raise ToolsNotRunning(f"{key} does not run")
        await link.command(command)

    async def close(self) -> None:
        """Let go of all guests."""
        links, self._links = list(self._links.values()), {}
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in links))

    async def _let_go(self, guest: Guest, link: ToolsLink, before: ToolsLink | None) -> None:
        if before is not None:
            await before.close()
        await guest.process.wait_ended(None)
        if self._links.get(guest.key) is link:
            del self._links[guest.key]
        await link.close()
