"""The hypervisor without guests keeps the contract of one with guests."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.lab.qemu.machines import PVSCSI, a_disk, a_machine, a_nic
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.null import NullHypervisor
from vmops.lab.hypervisor.port import DiskLayer, Segment
from vmops.lab.storage.merging import LayerFiles
from vmops.lab.storage.qcow2 import create_empty


def with_null(scenario: Callable[[NullHypervisor], Coroutine[Any, Any, None]]) -> list[str]:
    stopped: list[str] = []

    async def run() -> None:
        hypervisor = NullHypervisor(LayerFiles())
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


def test_devices_layers_and_places_are_kept_as_state(tmp_path: Path) -> None:
    """What the managed objects do to a guest works on a machine without one, and is checked."""
    base, target = tmp_path / "base", tmp_path / "target"
    base.write_bytes(b"content".ljust(4096, b"\0"))
    target.write_bytes(bytes(4096))
    tops = [DiskLayer(file=tmp_path / name, file_format="qcow2") for name in ("one", "two")]
    for top in tops:
        with top.file.open("xb") as file:
            create_empty(file.fileno(), 4096)
    net = Segment(name="VM Network", nat=False)

    async def scenario(hypervisor: NullHypervisor) -> None:
        machine = a_machine("vm-1")
        await hypervisor.power_on(machine)
        await hypervisor.attach_disk("vm-1", a_disk(base), PVSCSI)
        with pytest.raises(HypervisorError, match="has a disk 2000 already"):
            await hypervisor.attach_disk("vm-1", a_disk(base), PVSCSI)
        await hypervisor.extend_disk("vm-1", 2000, 8192)
        await hypervisor.attach_nic("vm-1", a_nic(0), net)
        await hypervisor.set_link("vm-1", 4000, connected=False)
        for top in tops:
            await hypervisor.snapshot_disks("vm-1", {2000: top})
        with pytest.raises(HypervisorError, match="is not a layer under"):
            await hypervisor.collapse("vm-1", 2000, base, tops[0].file)
        await hypervisor.collapse("vm-1", 2000, tops[0].file, base)
        await hypervisor.collapse("vm-1", 2000, tops[1].file, base)
        layer = DiskLayer(file=target, file_format="raw")
        shown: list[int] = []
        await hypervisor.mirror_disk("vm-1", 2000, (layer,), shown.append)
        assert target.read_bytes() == base.read_bytes()
        used = await hypervisor.statistics("vm-1")
        assert (set(used.disks), set(used.nics)) == ({2000}, {4000})
        assert (await hypervisor.migrate("vm-1", machine, shown.append)).downtime_ms == 0
        assert shown == [100, 100]
        for ask in (hypervisor.detach_disk("vm-1", 2000), hypervisor.detach_nic("vm-1", 4000)):
            with pytest.raises(HypervisorError, match="has no"):
                await ask

    assert with_null(scenario) == []


def test_a_layer_that_cannot_be_moved_stays(tmp_path: Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    base.write_bytes(bytes(4096))
    top.write_bytes(b"no delta".ljust(4096, b"\0"))
    target = tmp_path / "target"
    target.write_bytes(bytes(4096))

    async def scenario(hypervisor: NullHypervisor) -> None:
        await hypervisor.power_on(a_machine("vm-1", disks=(a_disk(top, base),)))
        with pytest.raises(HypervisorError, match=r"cannot be moved: .*not a snapshot delta"):
            await hypervisor.collapse("vm-1", 2000, top, base)
        layer = DiskLayer(file=target, file_format="raw")
        with pytest.raises(HypervisorError, match="not a snapshot delta"):
            await hypervisor.mirror_disk("vm-1", 2000, (layer,))
        top.unlink()
        with pytest.raises(HypervisorError, match="top"):
            await hypervisor.collapse("vm-1", 2000, top, base)

    assert with_null(scenario) == []


def test_memory_of_a_running_machine_can_be_resumed(tmp_path: Path) -> None:
    memory = tmp_path / "memory"

    async def scenario(hypervisor: NullHypervisor) -> None:
        await hypervisor.power_on(a_machine("vm-1"))
        await hypervisor.snapshot_disks("vm-1", {}, memory)
        assert await hypervisor.running() == {"vm-1"}
        await hypervisor.power_off("vm-1")
        await hypervisor.resume(a_machine("vm-1"), memory)
        with pytest.raises(HypervisorError, match="no guest runs here"):
            await hypervisor.open_vnc("vm-1")

    assert with_null(scenario) == []
