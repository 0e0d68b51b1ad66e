from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.guests.plain_qemu import BUILD, PlainQemu, linux_guest, unpack
from vmops.lab.guest import BuildFailed, build_guest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.guest
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("linux-guest")
    yield unpack(linux_guest(), folder / "pristine.raw")
    shutil.rmtree(folder)


@pytest.fixture
def disk(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(pristine, tmp_path / "disk.raw"))


def root_file_system(disk: Path) -> Path:
    """The disk's second partition, cut out."""
    content = disk.read_bytes()
    first, sectors = (int.from_bytes(content[at : at + 4], "little") for at in (470, 474))
    cut = disk.with_suffix(".ext4")
    cut.write_bytes(content[first * 512 : (first + sectors) * 512])
    return cut


def e2fs(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"no second view of an ext4 without {program}")
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("bus", ["pvscsi", "ide"])
def test_it_boots_and_lets_root_in_and_shuts_down_by_its_power_button(bus: str, disk: Path) -> None:
    with PlainQemu([disk], bus=bus, memory_mib=96) as guest:
        guest.wait_for(r"vmops-guest: boot 1\r\n")
        guest.wait_for(r"vmops-guest: cpus 1 memory 96 MiB disk 64 MiB\r\n")
        guest.wait_for(r"vmops-guest: ready\r*\n")
        guest.log_in()
        guest.wait_for("root@vmops-guest:~# ")
        assert guest.run("id -un") == "root"
        assert int(guest.run("ticks")) < 100
        # Nobody asked for ticks on the serial line.
        assert "tick" not in guest.run("sleep 2")
        assert "10.0.2.15" in guest.run("until ip addr show eth0 | grep 10.0.2.; do sleep 1; done")
        guest.press_power_button()
        guest.wait_for("vmops-guest: powering off")
    file_system = root_file_system(disk)
    checked = e2fs("e2fsck", "-fn", str(file_system))
    assert checked.returncode == 0, checked.stdout
    assert e2fs("debugfs", "-R", "cat /var/lib/boots", str(file_system)).stdout == "1\n"


def test_a_reboot_counts_on_disk_and_begins_ticks_again(disk: Path) -> None:
    ticks = ("-fw_cfg", "name=opt/guestinfo/guestinfo.vmops.ticks,string=1", "-smp", "2")
    with PlainQemu([disk], more=ticks) as guest:
        guest.wait_for(r"vmops-guest: boot 1\r\n")
        guest.wait_for(r"vmops-guest: cpus 2 memory 128 MiB disk 64 MiB\r\n")
        guest.log_in()
        first, second = (int(guest.wait_for(r"vmops-guest: tick (\d+)\r*\n")[1]) for _ in "12")
        assert second == first + 1
        assert guest.run("guestinfo vmops.ticks") == "1"
        guest.type("reboot")
        guest.wait_for("vmops-guest: restarting")
        guest.wait_for(r"vmops-guest: boot 2\r\n")
        assert guest.wait_for(r"vmops-guest: tick (\d+)\r*\n")[1] == "1"
        guest.type("")  # the first prompt is behind us
        guest.log_in()
        guest.wait_for("root@vmops-guest:~# ")
        guest.type("poweroff")
        guest.process.wait(timeout=60)


def test_its_screen_says_what_it_is(disk: Path) -> None:
    with PlainQemu([disk]) as guest:
        guest.log_in()
        guest.wait_for("root@vmops-guest:~# ")
        guest.run("until grep -q login /dev/vcs1; do sleep 1; done; sleep 1")
        screen = "\n".join(guest.screen_text())
    assert re.search(r"^ +vmops lab guest$", screen, re.MULTILINE)
    assert re.search(r"^ +eth0 +10\.0\.2\.15/24$", screen, re.MULTILINE)
    assert "vmops-guest login: root (automatic login)" in screen
    assert "root@vmops-guest:~#" in screen


def test_a_wrong_password_is_refused(disk: Path) -> None:
    with PlainQemu([disk]) as guest:
        guest.log_in(password="wrong")
        guest.wait_for("Login incorrect", seconds=30)


def test_its_root_is_the_disk_the_firmware_started_from(disk: Path, tmp_path: Path) -> None:
    """A rescued machine has two disks with the same label; the second one is to be booted."""
    rescue = Path(shutil.copyfile(disk, tmp_path / "rescue.raw"))
    with PlainQemu([disk, rescue]) as guest:
        guest.wait_for(r"vmops-guest: boot 1\r\n")
        guest.log_in()
        guest.wait_for("root@vmops-guest:~# ")
        assert guest.run("cat /run/root") == "/dev/sdb2"
    for file, boots in ((disk, "0\n"), (rescue, "1\n")):
        file_system = str(root_file_system(file))
        # The guest was cut off, so what it wrote may still stand in the journal alone.
        e2fs("e2fsck", "-fy", file_system)
        assert e2fs("debugfs", "-R", "cat /var/lib/boots", file_system).stdout == boots


def test_the_boot_partition_is_a_fat16_that_knows_where_it_lies(pristine: Path) -> None:
    content = pristine.read_bytes()
    assert content[446] == 0x80
    assert content[510:512] == b"\x55\xaa"
    sector = content[MIB : MIB + 512]
    assert int.from_bytes(sector[11:13], "little") == 512
    assert int.from_bytes(sector[28:32], "little") == 2048  # hidden sectors before it
    assert sector[54:62] == b"FAT16   "
    assert sector[3:11] == b"SYSLINUX"
    clusters = int.from_bytes(content[458:462], "little") // sector[13]
    assert 4085 <= clusters < 65525  # what makes a FAT16 one


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    linux_guest()
    with pytest.raises(BuildFailed, match=r"needs a disk of \d+ MiB, 16 is too small"):
        build_guest(tmp_path / "small.vmdk", work_dir=BUILD / "guest", size_mib=16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("disk_format", ["flat", "sparse", "raw"])
def test_other_formats_and_sizes(
    disk_format: Literal["flat", "sparse", "raw"], tmp_path: Path
) -> None:
    linux_guest()
    output = tmp_path / "guest.vmdk"
    image = build_guest(output, work_dir=BUILD / "guest", format=disk_format, size_mib=80)
    assert image.capacity_bytes == 80 * MIB
    assert image.file_bytes < 40 * MIB
    form = "raw" if disk_format == "raw" else "vmdk"
    command = ["qemu-img", "info", "--output=json", "-f", form, str(output)]
    assert f'"virtual-size": {80 * MIB}' in subprocess.check_output(command, text=True)
