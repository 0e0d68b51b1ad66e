"""What a config drive holds, and who gets one."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pycdlib
import pytest

from tests.builders import an_instance
from vmops.errors import Invalid
from vmops.images import config_drive as drives
from vmops.images.config_drive import ConfigDrive, GuestFile
from vmops.model.instance import Subnet, Vif
from vmops.ops.spawn.config_drive import network_data
from vmops.ops.vmops.config_drive_shapes import GuestData, make_config_drive

V4 = Subnet(cidr="192.0.2.0/25", addresses=("192.0.2.7", "192.0.2.8"), gateway="192.0.2.1")
V6 = Subnet(cidr="2001:db8::/64", addresses=("2001:db8::7",), gateway="2001:db8::1", dns=("::1",))
MAC = "00:50:56:00:00:2a"


def made(shape: Any, **data: Any) -> ConfigDrive | None:
    return make_config_drive(shape, an_instance(), (), GuestData(**data))


@pytest.mark.parametrize(
    ("shape", "data", "gets"),
    [
        ({}, {}, False),
        ({}, {"admin_password": "x"}, False),
        ({"user_data": "YQ=="}, {}, False),
        ({"config_drive": ""}, {}, False),
        ({"config_drive": "False"}, {}, False),
        ({"config_drive": "True"}, {}, True),
        ({"config_drive": True}, {}, True),
        ({"config_drive": "True"}, {"wanted": False}, False),
        ({}, {"wanted": True}, True),
        ({}, {"user_data": b"x"}, True),
        ({}, {"injected_files": [("/a", b"")]}, True),
        ({}, {"public_keys": {"a": "b"}}, True),
    ],
)
@pytest.mark.parametrize("is_object", [False, True])
def test_who_gets_one(shape: dict[str, Any], data: Any, gets: bool, is_object: bool) -> None:
    given = SimpleNamespace(**shape) if is_object else shape
    assert (made(given, **data) is not None) is gets


def test_user_data_that_is_no_base64_is_refused() -> None:
    with pytest.raises(Invalid, match="base64"):
        made({"config_drive": "1", "user_data": "#cloud-config"})


def test_what_is_given_wins_over_the_instances() -> None:
    shape = {"config_drive": "1", "user_data": "YQ==", "key_name": "k", "key_data": "theirs"}
    drive = made(shape, user_data="mine", public_keys={"m": "ours"})
    assert drive is not None
    assert (drive.user_data, drive.public_keys) == (b"mine", {"m": "ours"})
    drive = made(shape)
    assert drive is not None
    assert (drive.user_data, drive.public_keys) == (b"a", {"k": "theirs"})


def test_secrets_are_in_no_representation() -> None:
    data = GuestData(admin_password="pass-word", user_data=b"user-secret")
    drive = make_config_drive({}, an_instance(), (), data)
    for text in (repr(data), repr(drive), repr(GuestFile(path="/a", content=b"user-secret"))):
        assert "pass-word" not in text
        assert "user-secret" not in text


def test_a_path_that_no_guest_has_is_refused() -> None:
    for path in ("", "/a\0b"):
        with pytest.raises(Invalid, match="path"):
            GuestFile(path=path, content=b"")


def test_one_that_is_too_big_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drives, "MAX_BYTES", 1000)
    with pytest.raises(Invalid, match="too big"):
        ConfigDrive(uuid="u", name="n", user_data=b"x" * 501)
    with pytest.raises(Invalid, match="too big"):
        ConfigDrive(uuid="u", name="n", files=(GuestFile(path="/a", content=b"x" * 1001),))


def test_many_files_have_names_of_their_own() -> None:
    files = tuple(GuestFile(path=f"/f{n}", content=str(n).encode()) for n in range(120))
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(drives.build(ConfigDrive(uuid="u", name="n", files=files))))
    told = io.BytesIO()
    iso.get_file_from_iso_fp(told, rr_path="/openstack/latest/meta_data.json")
    for number, entry in enumerate(json.loads(told.getvalue())["files"]):
        found = io.BytesIO()
        iso.get_file_from_iso_fp(found, rr_path=f"/openstack{entry['content_path']}")
        assert (entry["path"], found.getvalue()) == (f"/f{number}", str(number).encode())
    iso.close()


def test_addresses_of_both_kinds_and_dhcp() -> None:
    vifs = [
        Vif(network="n", id="a", mac_address=MAC, subnets=(V4, V6)),
        Vif(network="n", mac_address="00:50:56:00:00:2b"),
        Vif(
            network="n", mac_address="00:50:56:00:00:2c", subnets=(Subnet(cidr="2001:db8:1::/64"),)
        ),
    ]
    told = network_data(vifs)
    assert told is not None
    assert [link["ethernet_mac_address"] for link in told["links"]] == [v.mac_address for v in vifs]
    seen = [(n["link"], n["type"], n.get("ip_address"), n.get("netmask")) for n in told["networks"]]
    assert seen == [
        ("nic0", "ipv4", "192.0.2.7", "255.255.255.128"),
        ("nic0", "ipv4", "192.0.2.8", "255.255.255.128"),
        ("nic0", "ipv6", "2001:db8::7", "ffff:ffff:ffff:ffff::"),
        ("nic1", "ipv4_dhcp", None, None),
        ("nic2", "ipv6_dhcp", None, None),
    ]
    gateways = [[r["gateway"] for r in n.get("routes", [])] for n in told["networks"]]
    assert gateways == [["192.0.2.1"], [], ["2001:db8::1"], [], []]
    assert len({n["id"] for n in told["networks"]}) == 5
    assert told["services"] == [{"type": "dns", "address": "::1"}]


def test_a_card_whose_address_is_not_known_leaves_the_network_to_the_guest() -> None:
    assert network_data([]) is None
    assert network_data([Vif(network="n", mac_address=MAC), Vif(network="n")]) is None
