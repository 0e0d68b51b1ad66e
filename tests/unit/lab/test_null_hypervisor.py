"""The hypervisor without guests keeps the contract of one with guests."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lab.qemu.machines import a_machine
from vmops.lab.hypervisor import HypervisorError
from vmops.lab.null_hypervisor import NullHypervisor


def with_null(scenario: Callable[[NullHypervisor], Coroutine[Any, Any, None]]) -> list[str]:
    stopped: list[str] = []

    async def run() -> None:
        hypervisor = NullHypervisor()
        await hypervisor.start(stopped.append)
        await scenario(hypervisor)

    asyncio.run(run())
    return stopped


def test_power_goes_on_and_off_and_survives_nothing() -> None:
    async def scenario(hypervisor: NullHypervisor) -> None:
        await hypervisor.power_on(a_machine("vm-1"))
        with pytest.raises(HypervisorError, match="runs already"):
            await hypervisor.power_on(a_machine("vm-1"))
        await hypervisor.reset("vm-1")
        await hypervisor.power_off("vm-1")
        await hypervisor.power_off("vm-1")
        assert await hypervisor.running() == frozenset()
        for ask in (hypervisor.reset, hypervisor.screenshot, hypervisor.press_power_button):
            with pytest.raises(HypervisorError, match="vm-1 does not run"):
                await ask("vm-1")
        await hypervisor.power_on(a_machine("vm-1"))
        await hypervisor.stop(keep_guests=True)
        assert await hypervisor.running() == frozenset()

    assert with_null(scenario) == []


def test_the_power_button_is_obeyed_after_it_was_pressed() -> None:
    async def scenario(hypervisor: NullHypervisor) -> None:
        await hypervisor.power_on(a_machine("vm-1"))
        await hypervisor.press_power_button("vm-1")
        assert await hypervisor.running() == {"vm-1"}
        await asyncio.sleep(0)
        assert await hypervisor.running() == frozenset()

    assert with_null(scenario) == ["vm-1"]


def test_only_its_own_memory_files_are_resumed(tmp_path: Path) -> None:
    memory = tmp_path / "memory"

    async def scenario(hypervisor: NullHypervisor) -> None:
        await hypervisor.power_on(a_machine("vm-1"))
        await hypervisor.suspend("vm-1", memory)
        assert await hypervisor.running() == frozenset()
        await hypervisor.resume(a_machine("vm-1"), memory)
        with pytest.raises(HypervisorError, match="File exists"):
            await hypervisor.suspend("vm-1", memory)
        assert await hypervisor.running() == {"vm-1"}
        for content in (b"", b"[]", b"\0" * 4096):
            memory.write_bytes(content)
            with pytest.raises(HypervisorError, match="memory"):
                await hypervisor.resume(a_machine("vm-2"), memory)
        assert await hypervisor.running() == {"vm-1"}

    with_null(scenario)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract-ocr is not installed")
def test_its_screen_says_that_there_is_no_guest(tmp_path: Path) -> None:
    pictures: list[bytes] = []

    async def scenario(hypervisor: NullHypervisor) -> None:
        await hypervisor.power_on(a_machine("vm-1"))
        pictures.append(await hypervisor.screenshot("vm-1"))

    with_null(scenario)
    file = tmp_path / "screen.png"
    file.write_bytes(pictures[0])
    seen = subprocess.run(
        ["tesseract", str(file), "-", "--psm", "6"], capture_output=True, text=True, check=True
    )
    assert "GUEST" in seen.stdout
    assert "POWER STATES" in seen.stdout
