"""Images through the command: what they are shown as."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_an_image_is_shown_with_all_that_it_asks_for(vmops: Command, boot_sector: Path) -> None:
    given = {
        "hw_vif_model": "VirtualVmxnet3",
        "hw_firmware_type": "uefi",
        "os_secure_boot": "optional",
        "hw_tpm_model": "tpm-crb",
        "hw_video_ram": "16",
        "img_config_drive": "mandatory",
        "hw_cpu_sockets": "2",
        "hw_cpu_cores": "3",
        "hw_cpu_max_sockets": "4",
        "hw_cpu_max_cores": "5",
    }
    options = [text for key, value in given.items() for text in ("--property", f"{key}={value}")]
    assert vmops("image", "add", str(boot_sector), "--name", "asks", *options).code == 0
    shown = vmops("image", "show", "asks", "-o", "json").json
    assert (
        shown.items()
        >= {
            "nic_model": "vmxnet3",
            "firmware": "efi",
            "secure_boot": "optional",
            "tpm": True,
            "video_ram_mib": 16,
            "config_drive": "mandatory",
            "cpu_sockets": 2,
            "cpu_cores": 3,
            "cpu_max_sockets": 4,
            "cpu_max_cores": 5,
        }.items()
    )
    assert vmops("image", "remove", "asks").code == 0


def test_a_property_that_nobody_reads_is_refused(vmops: Command, boot_sector: Path) -> None:
    add = ("image", "add", str(boot_sector), "--name", "typo", "--property")
    wrong = vmops(*add, "hw_firmware_typ=uefi")
    assert wrong.code == 2
    assert "--property: There is no property 'hw_firmware_typ'." in wrong.err
    assert "Did you mean hw_firmware_type" in wrong.err
    assert vmops("image", "list", "-o", "name").out == "small\n"


def test_what_an_image_does_not_ask_for_is_shown_as_not_said(vmops: Command) -> None:
    shown = vmops("image", "show", "small", "-o", "json").json
    assert (shown["nic_model"], shown["tpm"], shown["config_drive"]) == ("e1000", False, "optional")
    unsaid = ("secure_boot", "video_ram_mib", "cpu_sockets", "cpu_cores", "cpu_max_sockets")
    assert {shown[key] for key in unsaid} == {None}
    (listed,) = vmops("image", "list", "-o", "json").json
    assert listed == shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xe6\xff binary", "is not readable YAML"),
        (b"name: [\n", "is not readable YAML"),
        (b"- 1\n- 2\n", "is not a mapping"),
        (b"name: x\n", "file"),
        (b"name: x\nfile: ../../etc/passwd\ndisk_type: preallocated\n", "../../etc/passwd"),
        (b'name: "\\e[31mred"\nfile: gone.vmdk\n', ""),
    ],
)
def test_what_is_no_image_is_told_beside_the_list(
    vmops: Command, content: bytes, said: str
) -> None:
    folder = Path(vmops.env["VMOPS_STATE_DIR"]) / "images"
    before = vmops("image", "list", "-o", "json")
    broken = folder / "broken.yaml"
    broken.write_bytes(content)
    try:
        listed = vmops("image", "list", "-o", "json")
        assert (listed.code, listed.out) == (0, before.out)
        (line,) = listed.err.splitlines()
        assert line.startswith("Warning: an image cannot be used: broken: ")
        assert said in line
        assert "\x1b" not in line
    finally:
        broken.unlink()


def test_an_image_is_exported_and_taken_back(vmops: Command, tmp_path: Path) -> None:
    file = tmp_path / "small.ova"
    done = vmops("image", "export", "small", str(file), "--format", "ova")
    assert done.code == 0
    assert f"small: written to {file} as ova" in done.err
    assert vmops("image", "export", "small", str(file)).code != 0
    assert vmops("image", "add", str(file), "--name", "again").code == 0
    shown = vmops("image", "show", "again", "-o", "json").json
    small = vmops("image", "show", "small", "-o", "json").json
    assert shown["disk_type"] == "ova"
    assert shown["capacity_bytes"] == small["capacity_bytes"]
    assert vmops("image", "remove", "again").code == 0


def test_a_compressed_raw_disk_is_added(vmops: Command, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    assert vmops("image", "export", "small", str(raw), "--format", "raw").code == 0
    packed = tmp_path / "disk.raw.gz"
    packed.write_bytes(gzip.compress(raw.read_bytes()))
    added = ("image", "add", str(packed), "--name", "packed", "--disk-format", "raw")
    assert vmops(*added).code == 0
    again = tmp_path / "again.raw"
    assert vmops("image", "export", "packed", str(again), "--format", "raw").code == 0
    assert again.read_bytes() == raw.read_bytes()
    assert vmops("image", "remove", "packed").code == 0
