"""Each thing that can be wrong gets one clear message and its exit code, and leaves nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command, spawn
from vmops.lab import Lab

USAGE, NOT_FOUND, CONFLICT, REFUSED, UNAVAILABLE = 2, 3, 4, 5, 6

NEW = ("spawn", "new", "--image", "small", "--memory", "16M")
# arguments -> (exit code, what the message says)
WRONG = {
    ("lsit",): (USAGE, "Did you mean 'list'?"),
    ("spawn", "new"): (USAGE, "--image or --boot-volume"),
    ("spawn", "new", "--image", "nope"): (NOT_FOUND, "There is no image 'nope'. Available: small."),
    ("spawn", "new", "--image", "../../etc/passwd"): (NOT_FOUND, "There is no image"),
    (*NEW, "--network", "nope"): (NOT_FOUND, "There is no network 'nope'. Available: VM Network"),
    (*NEW, "--network", "dv-net,mac=xx"): (USAGE, "'xx' is not a MAC address."),
    (*NEW, "--network", "dv-net,model=rtl"): (USAGE, "There is no NIC model 'rtl'."),
    (*NEW, "--network", "dv-net,colour=red"): (USAGE, "colour is unknown"),
    (*NEW, "--datastore", "nope"): (
        NOT_FOUND,
        "There is no datastore 'nope'. Available: datastore1",
    ),
    (*NEW, "--cluster", "nope"): (NOT_FOUND, "There is no cluster 'nope'. Available: cluster1."),
    (*NEW, "--cpus", "1000"): (USAGE, "1000 vCPUs: an instance has 768 at most."),
    (*NEW[:4], "--memory", "25T"): (USAGE, "MiB of memory: an instance has 25165824 at most."),
    (*NEW, "--disk", "100T"): (USAGE, "A root disk of 100.0 TiB is too big"),
    (*NEW, "--disk", "100T", "--plan"): (USAGE, "A root disk of 100.0 TiB is too big"),
    (*NEW, "--ephemeral", "100T", "--plan"): (USAGE, "An ephemeral disk of 100.0 TiB is too big"),
    (*NEW, "--swap", "100T", "--plan"): (USAGE, "A swap disk of 100.0 TiB is too big"),
    ("volume", "create", "v", "--size", "100T", "--plan"): (USAGE, "A volume of 100.0 TiB"),
    ("resize", "there", "--disk", "100T", "--plan"): (USAGE, "A root disk of 100.0 TiB is too big"),
    (*NEW, "--uuid", "nope"): (USAGE, "'nope' is not an instance UUID."),
    (*NEW, "--extra-config", "nope"): (USAGE, "'nope' is not KEY=VALUE."),
    (*NEW, "--wait-for", "("): (USAGE, "--wait-for: missing )"),
    ("spawn", "../new", "--image", "small"): (USAGE, "'../new' cannot be used as a name"),
    ("spawn", "", "--image", "small"): (USAGE, "'' cannot be used as a name"),
    (*NEW[:4], "--memory", "1026M"): (USAGE, "vSphere takes a multiple of 4"),
    (*NEW[:4], "--memory", "0"): (USAGE, "'0' is too little"),
    (*NEW[:4], "--memory", "512X"): (USAGE, "'512X' is not a size"),
    (*NEW[:4], "--disk", "half"): (USAGE, "'half' is not a size"),
    ("show", "nope"): (NOT_FOUND, "There is no instance 'nope'."),
    ("stop", "5f7d4be8-0000-4000-8000-000000000000"): (NOT_FOUND, "There is no instance 5f7d4be8-"),
    ("destroy", "nope", "--yes"): (NOT_FOUND, "There is no instance 'nope'."),
    ("destroy", "there"): (USAGE, "No terminal to confirm on: add --yes"),
    ("destroy", "there", "nope", "--yes"): (NOT_FOUND, "There is no instance 'nope'."),
    ("resume", "there"): (CONFLICT, "is powered off. Start it first"),
    ("suspend", "there"): (CONFLICT, "is powered off. Start it first"),
    ("reboot", "there"): (CONFLICT, "is powered off. Start it first"),
    ("screenshot", "there"): (CONFLICT, "has no screen"),
    ("screenshot", "there", "-O", "/nowhere/x.png"): (USAGE, "There is no folder /nowhere"),
    ("spawn", "there", "--image", "small"): (CONFLICT, "The name 'there' is taken."),
    ("image", "remove", "nope"): (NOT_FOUND, "There is no image 'nope'."),
    ("--url", "http://host/sdk", "list"): (USAGE, "--url must look like https://host/sdk."),
    ("--url", "https://host:99999", "list"): (USAGE, "--url is not a URL"),
    ("--url", "https://u:canary@host", "list"): (USAGE, "can be read by others"),
    ("--url", "https://127.0.0.1:1", "list"): (UNAVAILABLE, "127.0.0.1:1: Connection refused"),
    ("--url", "https://host.invalid", "list"): (UNAVAILABLE, "Cannot reach host.invalid"),
    ("--thumbprint", "AA:BB", "list"): (USAGE, "64 hex digits"),
    ("--thumbprint", "AA" * 32, "list"): (REFUSED, "is not the pinned one"),
    ("--ca-file", "/nowhere", "list"): (USAGE, "--ca-file: there is no file /nowhere."),
}


@pytest.fixture(scope="module", autouse=True)
def there(vmops: Command) -> None:
    """An instance that is powered off."""
    assert spawn(vmops, "there", "--no-power-on").code == 0


@pytest.fixture
def unchanged(vmops: Command, lab: Lab) -> Iterator[None]:
    """The test must leave the datastores as they were, and every VM has a folder there."""

    def state() -> list[Path]:
        return sorted(
            path.relative_to(lab.datastore_root(name))
            for name in ("datastore1", "datastore2")
            for path in lab.datastore_root(name).rglob("*")
            if path.name != "serial.log"
        )

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong(vmops: Command, args: tuple[str, ...], unchanged: None) -> None:
    code, message = WRONG[args]
    wrong = vmops(*args)
    assert message in wrong.err
    assert wrong.code == code
    assert wrong.out == ""
    assert "Traceback" not in wrong.err
    assert len(re.findall("^Error: ", wrong.err, re.MULTILINE)) == 1
    assert "canary" not in wrong.err


def test_a_second_spawn_of_a_uuid_leaves_the_first_alone(vmops: Command, unchanged: None) -> None:
    uuid = vmops("show", "there", "-o", "json").json["uuid"]
    again = vmops(*NEW, "--uuid", uuid)
    assert again.code == CONFLICT
    assert f"There is an instance {uuid} already (called 'there')" in again.err


def test_a_root_disk_smaller_than_the_image(vmops: Command, unchanged: None) -> None:
    images = Path(vmops.env["VMOPS_STATE_DIR"]) / "images"
    with (images / "big.raw").open("wb") as disk:
        disk.truncate(1024**3 + 512)
    (images / "big.yaml").write_text("name: big\nfile: big.raw\ndisk_type: preallocated\n")
    try:
        small = vmops("spawn", "new", "--image", "big", "--disk", "1G")
        assert small.code == USAGE
        assert "Take a flavor with at least 2 GiB" in small.err
    finally:
        (images / "big.yaml").unlink()
        (images / "big.raw").unlink()


DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"
RW 8 FLAT "/etc/passwd" 0
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello\n", "is not a VMDK"),
        (DESCRIPTOR.encode(), "names a file elsewhere"),
        (None, "There is no image file"),
    ],
    ids=["empty", "text", "names /etc/passwd", "missing"],
)
def test_an_image_that_cannot_be_used(
    vmops: Command, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "image.vmdk"
    if content is not None:
        file.write_bytes(content)
    wrong = vmops("image", "add", str(file), "--name", "wrong")
    assert wrong.code == USAGE
    assert message in wrong.err
    assert vmops("image", "list", "-o", "name").out == "small\n"


def test_an_image_that_is_cut_off(vmops: Command, tmp_path: Path, boot_sector: Path) -> None:
    file = tmp_path / "cut.vmdk"
    file.write_bytes(boot_sector.read_bytes()[:-2048])
    wrong = vmops("image", "add", str(file))
    assert wrong.code == USAGE
    assert "it is cut off" in wrong.err
    assert vmops("image", "list", "-o", "name").out == "small\n"


def test_an_image_name_that_is_taken_or_a_path(vmops: Command, boot_sector: Path) -> None:
    assert vmops("image", "add", str(boot_sector), "--name", "small").code == CONFLICT
    assert vmops("image", "add", str(boot_sector), "--name", "../x").code == USAGE


def test_a_wrong_password(vmops: Command) -> None:
    wrong = vmops.with_env(VMOPS_PASSWORD="canary")("-vv", "list")
    assert wrong.code == REFUSED
    assert "user name or password is wrong" in wrong.err
    assert "canary" not in wrong.err


def test_no_password_and_nobody_to_ask(vmops: Command) -> None:
    for missing in ("VMOPS_USERNAME", "VMOPS_PASSWORD"):
        asked = vmops.with_env(**{missing: None})("list")
        assert asked.code == REFUSED
        assert "to log in with, and no terminal to ask on" in asked.err


def test_a_certificate_that_nobody_vouches_for(vmops: Command, lab: Lab) -> None:
    refused = vmops.with_env(VMOPS_THUMBPRINT=None)("list")
    assert refused.code == REFUSED
    assert lab.thumbprint in refused.err
    trusted = vmops.with_env(VMOPS_THUMBPRINT=None, VMOPS_CA_FILE=str(lab.certificate_file))
    assert trusted("list").code == 0


def test_a_password_file(vmops: Command, lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{lab.password}\n")
    file.chmod(0o600)
    by_file = vmops.with_env(VMOPS_PASSWORD=None, VMOPS_PASSWORD_FILE=str(file))
    assert by_file("list").code == 0
    file.chmod(0o644)
    refused = by_file("list")
    assert refused.code == USAGE
    assert f"chmod 600 {file}" in refused.err
    file.unlink()
    assert by_file("list").code == USAGE


def test_a_state_folder_that_cannot_be_used(vmops: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "state"
    lost = vmops.with_env(VMOPS_STATE_DIR=str(folder), VMOPS_URL=None)
    for args in (("list",), ("lab", "start"), ("lab", "status"), ("image", "build")):
        refused = lost(*args)
        assert refused.code in {1, CONFLICT}, args
        assert "Traceback" not in refused.err
        assert "VMOPS_STATE_DIR" in refused.err
    assert "state folder" in [
        row["name"] for row in lost("doctor", "-o", "json").json if row["status"] == "missing"
    ]


def test_a_lab_without_its_server_library(vmops: Command, tmp_path: Path) -> None:
    state = tmp_path / "state"
    alone = vmops.with_env(VMOPS_URL=None, VMOPS_STATE_DIR=str(state))
    hidden = "import sys; sys.modules['aiohttp'] = None; import vmops.cli.main as m; m.main()"
    refused = alone.finish(alone.start("list", program=[sys.executable, "-c", hidden]))
    assert refused.code == 1
    assert refused.err == (
        "Error: The lab needs aiohttp, which is not installed: pip install 'vmops[lab]'\n"
    )
    assert not state.exists()
