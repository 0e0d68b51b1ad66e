"""`vmops spawn` with disks, config drives and images of other formats, and `vmops image add`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from tests.builders import qemu_img
from tests.cli.conftest import Command, spawn
from tests.image_files import OvfDisk, a_bootable_iso, an_appliance_ovf, an_archive, an_ova, an_ovf
from vmops.lab.guest import boot_sector_disk
from vmops.lab.server import Lab

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx me@here"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    file = tmp_path / "disk.raw"
    file.write_bytes(boot_sector_disk())
    return file


def config_drive(lab: Lab, uuid: str) -> pycdlib.PyCdlib:
    (file,) = lab.settings.state_dir.rglob(f"{uuid}/configdrive.iso")
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(file.read_bytes()))
    return iso


def read(iso: pycdlib.PyCdlib, name: str) -> bytes:
    content = io.BytesIO()
    iso.get_file_from_iso_fp(content, rr_path=f"/openstack/{name}")
    return content.getvalue()


def test_disks_and_a_config_drive_of_files(vmops: Command, lab: Lab, tmp_path: Path) -> None:
    user_data, motd, key = tmp_path / "user", tmp_path / "motd", tmp_path / "id.pub"
    user_data.write_bytes(b"#cloud-config\n")
    motd.write_bytes(b"hello\n")
    key.write_text(f"{KEY}\n")
    found = spawn(
        vmops, "disks", "--ephemeral", "1G", "--ephemeral", "2", "--swap", "64M",
        "--user-data", str(user_data), "--file", f"/etc/motd={motd}", "--key", str(key),
    )  # fmt: skip
    assert found.code == 0, found.err
    uuid = found.out.strip()
    names = {file.name for file in lab.settings.state_dir.rglob(f"{uuid}/*.vmdk")}
    assert {"ephemeral_0.vmdk", "ephemeral_1.vmdk", "swap.vmdk"} <= names
    iso = config_drive(lab, uuid)
    assert read(iso, "latest/user_data") == b"#cloud-config\n"
    told: dict[str, Any] = json.loads(read(iso, "latest/meta_data.json"))
    assert told["public_keys"] == {"me@here": KEY}
    assert [read(iso, one["content_path"][1:]) for one in told["files"]] == [b"hello\n"]
    iso.close()


def test_user_data_that_cloud_init_passes_over_is_told_of(vmops: Command, tmp_path: Path) -> None:
    user_data = tmp_path / "user"
    user_data.write_bytes(b"hostname: web1\n")
    found = spawn(vmops, "noted", "--user-data", str(user_data))
    assert found.code == 0
    assert "#cloud-config" in found.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--file", "no-equals"), "GUEST=LOCAL"),
        (("--file", "/etc/motd=/nowhere/motd"), "/nowhere/motd: No such file"),
        (("--user-data", "/nowhere/user"), "/nowhere/user: No such file"),
        (("--key", "/etc/hostname"), "not a public SSH key"),
        (("--ephemeral", "0"), "too little"),
        (("--swap", "many"), "not a size"),
    ],
)
def test_what_cannot_be_is_refused(vmops: Command, words: tuple[str, ...], said: str) -> None:
    found = spawn(vmops, "refused", *words)
    assert found.code == 2
    assert said in " ".join(found.err.split())


def test_user_data_may_come_through_a_pipe(vmops: Command, lab: Lab, tmp_path: Path) -> None:
    user_data = tmp_path / "user"
    user_data.write_bytes(b"#!/bin/sh\n\0")
    words = ("spawn", "piped", "--image", "small", "--memory", "16M", "--user-data", "-")
    with user_data.open("rb") as stdin:
        found = vmops.finish(vmops.start(*words, stdin=stdin))
    assert found.code == 0, found.err
    iso = config_drive(lab, found.out.strip())
    assert read(iso, "latest/user_data") == user_data.read_bytes()
    iso.close()
    empty = vmops.process(*words)
    assert empty.code == 2
    assert "it is empty" in empty.err


def test_a_private_key_is_refused_and_not_shown(vmops: Command, tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret-of-mine\n")
    found = spawn(vmops, "refused", "--key", str(key))
    assert found.code == 2
    assert "private key" in found.err
    assert "secret-of-mine" not in found.err


def test_an_iso_image_is_added_and_spawned(vmops: Command, tmp_path: Path) -> None:
    iso = a_bootable_iso(tmp_path / "boots.iso", boot_sector_disk())
    added = vmops("image", "add", str(iso), "--name", "boots")
    assert added.code == 0, added.err
    assert "boots: iso, a file of" in added.err
    shown = json.loads(vmops("image", "show", "boots", "-o", "json").out)
    assert (shown["disk_type"], shown["disk"], shown["capacity_bytes"]) == ("iso", "", None)
    made = vmops("spawn", "from-iso", "--image", "boots", "--memory", "16M", "--disk", "1G")
    assert made.code == 0, made.err


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_another_format_is_converted(vmops: Command, raw: Path, tmp_path: Path, kind: str) -> None:
    file = raw
    if kind == "qcow2":
        file = tmp_path / "disk.qcow2"
        qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, file)
    more = ("--disk-format", "raw") if kind == "raw" else ()
    added = vmops("image", "add", str(file), "--name", f"was-{kind}", *more)
    assert added.code == 0, added.err
    assert f"was-{kind}: streamOptimized, a disk of 1.0 MiB in a file of" in added.err
    made = vmops("spawn", f"from-{kind}", "--image", f"was-{kind}", "--memory", "16M")
    assert made.code == 0, made.err


def test_raw_bytes_are_refused_with_the_options_that_say_what_they_are(
    vmops: Command, raw: Path
) -> None:
    found = vmops("image", "add", str(raw))
    assert found.code != 0
    assert "--disk-format raw" in found.err
    assert "--disk-type preallocated" in " ".join(found.err.split())


def test_an_ova_is_added_and_spawned(vmops: Command, boot_sector: Path, tmp_path: Path) -> None:
    ova = an_ova(tmp_path / "app.ova", boot_sector.read_bytes())
    added = vmops("image", "add", str(ova))
    assert added.code == 0, added.err
    assert "app: ova, a disk of 1.0 MiB in a file of" in added.err
    made = vmops("spawn", "from-ova", "--image", "app", "--memory", "16M")
    assert made.code == 0, made.err


def test_what_an_ova_asks_for_is_shown_taken_and_told(
    vmops: Command, boot_sector: Path, tmp_path: Path
) -> None:
    more = (
        "<Item><rasd:InstanceID>80</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>"
        "<rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>"
        "<Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>"
        "<rasd:InstanceID>81</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>"
        "<rasd:VirtualQuantity>18</rasd:VirtualQuantity></Item>"
        '<vmw:ExtraConfig vmw:key="an.odd.key" vmw:value="1"/>'
    )
    disks = (OvfDisk("system.vmdk", unit=0), OvfDisk("", unit=1, capacity=3 << 20))
    files = {"a.ovf": an_appliance_ovf(disks, more), "system.vmdk": boot_sector.read_bytes()}
    ova = an_archive(tmp_path / "asks.ova", files)
    added = vmops("image", "add", str(ova))
    assert added.code == 0, added.err
    told = " ".join(added.err.split())
    assert "Warning: Settings that are not taken over: an.odd.key." in told
    assert "Warning: It has no manifest" in told
    shown = vmops("image", "show", "asks", "-o", "json").json
    assert (shown["cpus"], shown["memory_mib"], shown["adapter"]) == (2, 18, "paraVirtual")
    assert shown["further_disks"] == "blank (3.0 MiB, paraVirtual)"
    assert "an.odd.key" in shown["notes"]
    plan = vmops("spawn", "asks1", "--image", "asks", "--plan")
    assert plan.code == 0, plan.err
    assert "an.odd.key" in plan.out + plan.err
    assert "image_disk_1.vmdk" in plan.out
    for options, size in (((), "2 vCPUs 20 MiB"), (("--cpus", "1", "--memory", "16M"), "1 16")):
        name = f"asks-{len(options)}"
        made = vmops("spawn", name, "--image", "asks", "--no-power-on", *options)
        assert made.code == 0, made.err
        assert "Warning: Image 'asks': Settings that are not taken over" in " ".join(
            made.err.split()
        )
        record = vmops("show", name, "-o", "json").json
        wanted = [int(word) for word in size.split() if word.isdigit()]
        assert [record["cpus"], record["memory_mib"]] == wanted


def test_a_damaged_or_empty_ova_is_refused(
    vmops: Command, boot_sector: Path, tmp_path: Path
) -> None:
    damaged = an_ova(tmp_path / "damaged.ova", boot_sector.read_bytes())
    content = bytearray(damaged.read_bytes())
    at = content.index(b"not this one")
    content[at : at + 3] = b"NOT"
    damaged.write_bytes(content)
    found = vmops("image", "add", str(damaged))
    assert found.code != 0
    assert "'second.vmdk' in the archive is damaged" in " ".join(found.err.split())
    empty = an_archive(tmp_path / "empty.ova", {"a.ovf": an_ovf("gone.vmdk")})
    found = vmops("image", "add", str(empty))
    assert found.code != 0
    assert "gone.vmdk" in found.err


def test_volumes_are_attached_and_booted_from(vmops: Command) -> None:
    for name in ("boots-it", "more"):
        assert vmops("volume", "create", name, "--size", "1M").code == 0
    words = ("--boot-volume", "boots-it", "--volume", "more", "--firmware", "uefi")
    made = vmops("spawn", "of-volumes", "--memory", "16M", *words)
    assert made.code == 0, made.err
    assert "Attach the root volume" in made.err
    assert "Attach the volumes" in made.err
    rows = json.loads(vmops("volume", "list", "-o", "json").out)
    assert {row["name"]: row["attached_to"] for row in rows} == {
        "boots-it": "of-volumes",
        "more": "of-volumes",
    }
    grown = vmops("resize", "of-volumes", "--disk", "5", "--cpus", "2")
    assert (grown.code, "boots from a volume" in grown.err) == (4, True)
    assert json.loads(vmops("show", "of-volumes", "-o", "json").out)["cpus"] == 1
    assert vmops("destroy", "of-volumes", "--yes").code == 0
    rows = json.loads(vmops("volume", "list", "-o", "json").out)
    assert [row["attached_to"] for row in rows] == ["", ""]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--image or --boot-volume"),
        (("--boot-volume", "nowhere"), "nowhere"),
        (("--image", "small", "--volume", "nowhere"), "nowhere"),
    ],
)
def test_what_it_boots_from_must_be_there(
    vmops: Command, words: tuple[str, ...], said: str
) -> None:
    found = vmops("spawn", "of-nothing", "--memory", "16M", *words)
    assert found.code != 0
    assert said in found.err
    assert "of-nothing" not in vmops("list").out
