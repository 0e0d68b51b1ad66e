"""A hypervisor without guests: power states change and nothing runs, for speed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from vmops.lab.hypervisor import HypervisorError, Machine
from vmops.lab.plain_screen import plain_screen

_KIND = "vmops lab memory without a guest"
_SCREEN = ("No guest runs here", "This lab changes", "power states only")


class NullHypervisor:
    """`vmops.lab.hypervisor.Hypervisor` of machines that are on in name only.

    A machine behaves as a guest would that does nothing but go off when its power button is
    pressed. Nothing survives a restart.
    """

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._on_stopped: Callable[[str], None] = lambda _key: None

    async def start(self, on_stopped: Callable[[str], None]) -> None:
        """Begin with no machine running."""
        self._running.clear()
        self._on_stopped = on_stopped

    async def stop(self, *, keep_guests: bool) -> None:
        """Forget all machines."""
        self._running.clear()

    async def running(self) -> frozenset[str]:
        """Return the keys of the machines that are on."""
        return frozenset(self._running)

    async def power_on(self, machine: Machine) -> None:
        """Turn the machine on."""
        if machine.key in self._running:
            raise HypervisorError(f"{machine.name} runs already")
        self._running.add(machine.key)

    async def resume(self, machine: Machine, memory: Path) -> None:
        """Turn the machine on, if the file is what `suspend` wrote."""
        try:
            content = json.loads(await asyncio.to_thread(memory.read_bytes))
        except (OSError, ValueError) as error:
            raise HypervisorError(f"the machine's memory cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("kind") != _KIND:
            raise HypervisorError(f"{memory.name} is not the memory of a machine without a guest")
        await self.power_on(machine)

    async def suspend(self, key: str, memory: Path) -> None:
        """Write a file that says there is no memory, and turn the machine off."""
        self._require(key)
        content = json.dumps({"kind": _KIND, "machine": key}).encode()
        try:
            await asyncio.to_thread(_write_new, memory, content)
        except OSError as error:
            raise HypervisorError(f"no memory file can be written: {error}") from error
        self._running.discard(key)

    async def power_off(self, key: str) -> None:
        """Turn the machine off."""
        self._running.discard(key)

    async def reset(self, key: str) -> None:
        """Do nothing but check that the machine is on."""
        self._require(key)

    async def press_power_button(self, key: str) -> None:
        """Turn the machine off soon after returning, as an obedient guest would."""
        self._require(key)
        asyncio.get_running_loop().call_soon(self._obey, key)

    async def screenshot(self, key: str) -> bytes:
        """Return a picture that says there is nothing to see."""
        self._require(key)
        return await asyncio.to_thread(plain_screen, _SCREEN)

    def _obey(self, key: str) -> None:
        if key in self._running:
            self._running.discard(key)
            self._on_stopped(key)

    def _require(self, key: str) -> None:
        if key not in self._running:
            raise HypervisorError(f"{key} does not run")


def _write_new(file: Path, content: bytes) -> None:
    with file.open("xb") as stream:
        stream.write(content)
