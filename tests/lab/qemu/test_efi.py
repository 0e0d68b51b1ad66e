"""Guests with EFI firmware."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.qemu.efi_guest import efi_bootable
from tests.lab.qemu.machines import PVSCSI, Log, a_disk, a_hypervisor, bootable, counting
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Controller
from vmops.lab.qemu import missing

pytestmark = pytest.mark.guest

AHCI = Controller(key=15000, bus_number=0, model="VirtualAHCIController")


def test_an_efi_guest_boots_from_sata_gets_a_scsi_disk_keeps_its_variables_and_moves(
    tmp_path: Path,
) -> None:
    if not any(Path(code).is_file() for code, _ in missing._EFI_FIRMWARE):
        pytest.skip("no EFI firmware (Debian: ovmf)")
    disk = a_disk(efi_bootable(tmp_path / "efi-flat.vmdk"), controller_key=15000)
    machine = counting(
        "vm-1", tmp_path, firmware="efi", memory_mib=128, controllers=(AHCI,), disks=(disk,)
    )
    added = a_disk(bootable(tmp_path / "added-flat.vmdk"), key=2001)
    grown = replace(machine, controllers=(AHCI, PVSCSI), disks=(disk, added))

    async def run() -> None:
        variables = tmp_path / "run/guests/vm-1/nvram"
        log = Log(tmp_path, "vm-1")
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(machine)
            await asyncio.to_thread(log.wait_for, 5, seconds=200)
            await hypervisor.attach_disk("vm-1", added, PVSCSI)
            moved = await hypervisor.migrate("vm-1", grown)
            print("EFI guest:", moved)  # noqa: T201 - a figure for those who run it
            await asyncio.to_thread(log.wait_for, 5)
            kept = variables.read_bytes()
            await hypervisor.suspend("vm-1", tmp_path / "memory")
            await hypervisor.resume(grown, tmp_path / "memory")
            await asyncio.to_thread(log.wait_for, 5)
            assert variables.read_bytes() == kept
        # The firmware prints on the line, too, before the program does.
        counts = log.counts()
        assert counts == list(range(1, len(counts) + 1))

    asyncio.run(run())


def test_efi_without_firmware_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmops.lab.qemu.missing._EFI_FIRMWARE", ())

    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            with pytest.raises(HypervisorError, match="apt-get install ovmf"):
                await hypervisor.power_on(counting("vm-1", tmp_path, firmware="efi"))
            assert await hypervisor.running() == frozenset()

    asyncio.run(run())
