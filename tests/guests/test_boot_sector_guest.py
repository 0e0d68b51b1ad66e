from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.guests.plain_qemu import PlainQemu, require_qemu, unpack
from vmops.lab.guest import boot_count, boot_sector_disk, build_boot_sector_guest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.guest


@pytest.fixture(autouse=True)
def _qemu() -> None:
    require_qemu()


@pytest.mark.parametrize("bus", ["pvscsi", "ide"])
def test_it_counts_its_boots_on_disk_and_shows_them(bus: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(boot_sector_disk())
    for boot in (1, 2):
        with PlainQemu([disk], bus=bus, memory_mib=16) as guest:
            guest.wait_for(rf"vmops boot sector\r\nboot {boot}\r\n")
            assert guest.screen_text()[:2] == ["vmops boot sector", f"boot {boot}"]
        assert boot_count(disk.read_bytes()) == boot


def test_its_ticks_stand_still_with_the_processor_and_restart_with_a_reset(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(boot_sector_disk(period=2))
    with PlainQemu([disk], memory_mib=16) as guest:
        guest.wait_for(r"boot 1\r\ntick 1\r\ntick 2\r\ntick 3\r\n")
        guest.execute("stop")
        time.sleep(1.0)  # nine ticks, if it went on
        guest.execute("cont")
        guest.wait_for(r"tick (\d+)\r\n")
        assert int(guest.wait_for(r"tick (\d+)\r\n").group(1)) < 9
        guest.execute("system_reset")
        guest.wait_for(r"boot 2\r\ntick 1\r\n")


def test_it_says_so_when_its_disk_cannot_be_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(boot_sector_disk()[:512].ljust(1024 * 1024, b"\0"))
    read_only = f"driver=raw,node-name=disk,read-only=on,file.driver=file,file.filename={disk}"
    devices = ("-blockdev", read_only, "-device", "virtio-blk-pci,drive=disk")
    with PlainQemu([], memory_mib=16, more=devices) as guest:
        guest.wait_for(r"vmops boot sector\r\ndisk error\r\n")


def test_the_stream_optimized_image_boots(tmp_path: Path) -> None:
    image = build_boot_sector_guest(tmp_path / "guest.vmdk")
    disk = unpack(image, tmp_path / "disk.raw")
    assert disk.read_bytes() == boot_sector_disk()
    with PlainQemu([disk], memory_mib=16) as guest:
        guest.wait_for(r"boot 1\r\n")
