"""The disc for cloud-init: what is on it, and which guests get one."""

from __future__ import annotations

import base64
import gzip
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pycdlib
import pytest
import yaml

from tests.lab.qemu.machines import a_machine
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Cdrom, GuestDefinition
from vmops.lab.qemu.seed import seed_files, wants_seed, write_seed

NETWORK = {"version": 2, "ethernets": {"nic0": {"dhcp4": True}}}
METADATA = {"instance-id": "i-1", "local-hostname": "web1", "network": NETWORK}


def encoded(text: str, encoding: str) -> str:
    content = text.encode()
    return base64.b64encode(
        gzip.compress(content) if encoding.lower().startswith("g") else content
    ).decode()


def told(**values: str) -> GuestDefinition:
    return a_machine(extra_config={f"guestinfo.{key}": text for key, text in values.items()})


def iso(file: Path, label: str) -> Path:
    disc = pycdlib.PyCdlib()
    disc.new(vol_ident=label)
    disc.write(str(file))
    disc.close()
    return file


@pytest.mark.parametrize("encoding", ["base64", "b64", "gzip+base64", "gz+b64", "GZIP+BASE64"])
@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
def test_what_is_told_is_decoded_and_divided(encoding: str, write: Callable[[object], str]) -> None:
    files = seed_files(
        told(
            **{
                "metadata": encoded(write(METADATA), encoding),
                "metadata.encoding": encoding,
                "Userdata": encoded("#cloud-config\npassword: é", encoding),
                "userdata.encoding": encoding,
                "vendordata": "#!/bin/sh",
            }
        )
    )

    assert json.loads(files["meta-data"]) == {"instance-id": "i-1", "local-hostname": "web1"}
    assert json.loads(files["network-config"]) == NETWORK
    assert files["user-data"] == "#cloud-config\npassword: é".encode()
    assert files["vendor-data"] == b"#!/bin/sh"


def test_a_network_may_be_encoded_by_itself() -> None:
    network = encoded(yaml.safe_dump(NETWORK), "gzip")
    metadata = {"network": network, "network.encoding": "gzip+base64"}

    files = seed_files(told(metadata=json.dumps(metadata)))

    assert json.loads(files["network-config"]) == NETWORK
    assert json.loads(files["meta-data"]) == {"instance-id": a_machine().bios_uuid}
    assert files["user-data"] == b""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"metadata": "!!"}, "not a mapping|neither JSON nor YAML"),
        ({"metadata": "- 1"}, "not a mapping"),
        ({"metadata": "a: [secret"}, "neither JSON nor YAML"),
        ({"userdata": "secret", "userdata.encoding": "base64"}, "is not base64"),
        ({"userdata": "c2VjcmV0", "userdata.encoding": "gz+b64"}, r"is not gz\+b64"),
        ({"userdata": "secret", "userdata.encoding": "rot13"}, "unknown encoding 'rot13'"),
    ],
)
def test_nonsense_is_refused_and_not_repeated(values: dict[str, str], words: str) -> None:
    with pytest.raises(HypervisorError, match=words) as caught:
        seed_files(told(**values))
    assert "secret" not in str(caught.value)


def test_the_disc_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "seed.iso"
    write_seed(told(userdata="hello"), file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    disc = pycdlib.PyCdlib()
    disc.open(str(file))
    assert disc.pvd.volume_identifier.strip() == b"CIDATA"
    for facade in ("rr_path", "joliet_path"):
        content = io.BytesIO()
        disc.get_file_from_iso_fp(content, **{facade: "/user-data"})
        assert content.getvalue() == b"hello"
    disc.close()


def test_only_a_guest_that_is_told_something_by_no_other_disc_gets_one(tmp_path: Path) -> None:
    assert not wants_seed(a_machine(extra_config={"guestinfo.other": "1", "userdata": "2"}))
    assert wants_seed(told(metadata="{}"))
    for label, wants in (("config-2", False), ("CIDATA", False), ("DEBIAN", True)):
        drive = Cdrom(
            key=3000, controller_key=200, unit_number=0, image=iso(tmp_path / label, label)
        )
        machine = a_machine(extra_config={"guestinfo.userdata": "x"}, cdroms=(drive,))
        assert wants_seed(machine) is wants
