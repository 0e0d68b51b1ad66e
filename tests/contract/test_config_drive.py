"""The config drive: what is in it, how it is attached, and that it goes with its instance."""

from __future__ import annotations

import base64
import io
import json
import logging
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pycdlib
import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import an_instance
from tests.contract.engine import Bench
from tests.contract.migrating import Told, files_of, migrate, other_host, place
from tests.contract.needs import needs
from vmops import Instance, Vif
from vmops.errors import Invalid
from vmops.model.block_devices import BlockDevices, EphemeralDisk
from vmops.model.datastore_path import DatastorePath
from vmops.model.instance import Subnet

PASSWORD = "s3cret-of-the-admin"
USER_DATA = b"#cloud-config\nhostname: \xc3\xa4\n\0binary"
VIF = Vif(
    network="VM Network",
    id="7e57-vif",
    mac_address="00:50:56:00:00:2a",
    subnets=(
        Subnet(
            cidr="192.0.2.0/24", addresses=("192.0.2.7",), gateway="192.0.2.1", dns=("192.0.2.53",)
        ),
    ),
)


def cdroms(bench: Bench, instance: Instance) -> list[Any]:
    return second_view.devices(bench.vm(instance), vim.vm.device.VirtualCdrom)


def drive_path(bench: Bench, instance: Instance) -> Path:
    return bench.root() / instance.uuid / "configdrive.iso"


class Iso:
    """An ISO image as another implementation reads it, by its Rock Ridge names."""

    def __init__(self, file: Path) -> None:
        self._iso = pycdlib.PyCdlib()
        self._iso.open_fp(io.BytesIO(file.read_bytes()))
        self.label = self._iso.pvd.volume_identifier.decode().strip()

    def read(self, path: str) -> bytes:
        found = io.BytesIO()
        self._iso.get_file_from_iso_fp(found, rr_path=path)
        return found.getvalue()

    def joliet(self, path: str) -> bytes:
        found = io.BytesIO()
        self._iso.get_file_from_iso_fp(found, joliet_path=path)
        return found.getvalue()

    def json(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.read(f"/openstack/latest/{name}")))


def test_without_one_there_is_no_drive(bench: Bench) -> None:
    instance = bench.spawn(admin_password=PASSWORD)
    assert not [d for d in cdroms(bench, instance) if "configdrive" in str(d.backing.fileName)]


def test_it_is_in_a_drive_that_is_connected(bench: Bench) -> None:
    instance = bench.spawn(config_drive=True)
    (drive,) = cdroms(bench, instance)
    assert drive.backing.fileName == (
        f"[{bench.backend.datastore}] {instance.uuid}/configdrive.iso"
    )
    assert drive.connectable.startConnected


@needs(Capability.LOCAL_FILES)
def test_it_tells_the_guest_what_it_is_to_be(bench: Bench) -> None:
    instance = an_instance()
    bench.spawn(
        instance=instance,
        user_data=USER_DATA,
        injected_files=[("/etc/motd", "hello"), ("/opt/raw", b"\0\xff")],
        public_keys={"mine": "ssh-ed25519 AAAA me"},
        admin_password=PASSWORD,
    )
    iso = Iso(drive_path(bench, instance))
    assert iso.label == "config-2"
    told = iso.json("meta_data.json")
    assert (told["uuid"], told["name"], told["hostname"]) == (
        instance.uuid,
        instance.name,
        instance.name,
    )
    assert told["public_keys"] == {"mine": "ssh-ed25519 AAAA me"}
    assert told["keys"] == [{"name": "mine", "type": "ssh", "data": "ssh-ed25519 AAAA me"}]
    assert told["admin_pass"] == PASSWORD
    assert iso.read("/openstack/latest/user_data") == USER_DATA
    assert iso.json("vendor_data.json") == {}
    injected = {f["path"]: iso.read(f"/openstack{f['content_path']}") for f in told["files"]}
    assert injected == {"/etc/motd": b"hello", "/opt/raw": b"\0\xff"}


@needs(Capability.LOCAL_FILES)
def test_every_name_and_version_says_the_same(bench: Bench) -> None:
    instance = bench.spawn(user_data=USER_DATA)
    iso = Iso(drive_path(bench, instance))
    for name in ("meta_data.json", "vendor_data.json", "user_data"):
        latest = iso.read(f"/openstack/latest/{name}")
        assert iso.read(f"/openstack/2018-08-27/{name}") == latest
        assert iso.joliet(f"/openstack/latest/{name}") == latest


@needs(Capability.LOCAL_FILES)
def test_its_network_is_that_of_openstack(bench: Bench) -> None:
    vif = Vif(**{**_fields(VIF), "network": bench.backend.network})
    instance = bench.spawn(config_drive=True, vifs=[vif])
    told = Iso(drive_path(bench, instance)).json("network_data.json")
    (link,), (network,) = told["links"], told["networks"]
    assert (link["ethernet_mac_address"], link["vif_id"]) == (VIF.mac_address, VIF.id)
    assert network["link"] == link["id"]
    assert (network["type"], network["ip_address"], network["netmask"]) == (
        "ipv4",
        "192.0.2.7",
        "255.255.255.0",
    )
    assert network["routes"] == [
        {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}  # noqa: S104
    ]
    assert told["services"] == [{"type": "dns", "address": "192.0.2.53"}]


def _fields(vif: Vif) -> dict[str, Any]:
    return {name: getattr(vif, name) for name in vif.__slots__}


@needs(Capability.LOCAL_FILES)
def test_an_instance_of_novas_that_requires_one_gets_it(bench: Bench) -> None:
    ours = an_instance()
    instance = SimpleNamespace(
        uuid=ours.uuid,
        display_name="shown",
        hostname="web-1",
        project_id="p1",
        flavor=SimpleNamespace(vcpus=1, memory_mb=ours.flavor.memory_mib, root_gb=0),
        config_drive="True",
        user_data=base64.b64encode(USER_DATA).decode(),
        key_name="mine",
        key_data="ssh-ed25519 AAAA me",
        metadata={"role": "web"},
        availability_zone="az1",
        launch_index=3,
    )
    bench.ops.spawn(None, instance, "flat", None, None)
    told = Iso(drive_path(bench, ours)).json("meta_data.json")
    assert (told["name"], told["hostname"], told["project_id"]) == ("shown", "web-1", "p1")
    assert (told["meta"], told["availability_zone"], told["launch_index"]) == (
        {"role": "web"},
        "az1",
        3,
    )
    assert told["public_keys"] == {"mine": "ssh-ed25519 AAAA me"}
    assert Iso(drive_path(bench, ours)).read("/openstack/latest/user_data") == USER_DATA


@pytest.mark.parametrize(
    ("image_says", "settings", "call", "gets"),
    [
        ("mandatory", False, None, True),
        ("mandatory", False, False, False),
        ("optional", False, None, False),
        (None, True, None, True),
        (None, True, False, False),
    ],
)
def test_image_and_settings_may_require_one(
    bench: Bench, image_says: str | None, settings: bool, call: bool | None, gets: bool
) -> None:
    image = "flat"
    if image_says is not None:
        image = bench.images.named("flat", img_config_drive=image_says)
    ops = bench.engine(force_config_drive=settings)
    instance = bench.spawn(image, ops=ops, config_drive=call, power_on=False)
    assert bool(cdroms(bench, instance)) is gets


def test_what_the_guest_is_to_get_is_not_dropped(bench: Bench) -> None:
    before = bench.vms()
    with pytest.raises(Invalid, match="config drive"):
        bench.spawn(user_data=b"#!/bin/sh", config_drive=False)
    assert bench.vms() == before


def test_it_goes_with_its_instance(bench: Bench) -> None:
    instance = bench.spawn(config_drive=True)
    files = bench.session.datastore_files
    folder = DatastorePath(bench.backend.datastore, instance.uuid)
    assert files.exists(folder.joined("configdrive.iso"))
    bench.ops.destroy(instance, None)
    assert not files.exists(folder.joined("configdrive.iso"))
    assert not files.exists(folder)


@needs(Capability.COUNTED_CALLS)
def test_it_costs_no_call_and_neither_do_more_disks(bench: Bench) -> None:
    devices = BlockDevices(ephemerals=(EphemeralDisk(size_gib=1),), swap_mib=8)
    bench.spawn()
    plain = bench.calls_of(bench.spawn)
    more = bench.calls_of(lambda: bench.spawn(config_drive=True, block_device_info=devices))
    assert more == plain
    instances = [bench.spawn(), bench.spawn(config_drive=True, block_device_info=devices)]
    calls = [bench.calls_of(partial(bench.ops.destroy, one, None)) for one in instances]
    assert calls[0] == calls[1]


def test_a_password_is_not_told_to_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        bench.spawn(config_drive=True, admin_password=PASSWORD, user_data=b"of the user")
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(bench.events)


@needs(Capability.LOCAL_FILES)
def test_it_is_still_there_after_a_resize(bench: Bench) -> None:
    instance = bench.spawn(config_drive=True)
    content = drive_path(bench, instance).read_bytes()
    bigger = an_instance(of=instance.uuid, vcpus=2).flavor
    bench.ops.migrate_disk_and_power_off(None, instance, "", bigger)
    bench.ops.finish_migration(None, None, instance, None, None, None, True)
    bench.ops.confirm_migration(None, instance, None)
    (drive,) = cdroms(bench, instance)
    assert drive.backing.fileName.endswith(f" {instance.uuid}/configdrive.iso")
    assert drive_path(bench, instance).read_bytes() == content


@needs(Capability.LOCAL_FILES, Capability.TWO_DATASTORES, Capability.SHARED_DATASTORES)
@pytest.mark.parametrize("live", [True, False], ids=["live", "cold"])
def test_it_stays_attached_where_it_is_when_the_disks_move_and_goes_at_the_end(
    bench: Bench, live: bool
) -> None:
    instance = bench.spawn(config_drive=True)
    path = cdroms(bench, instance)[0].backing.fileName
    if live:
        told = Told()
        migrate(bench, instance, other_host(bench, instance), told, block_migration=True)
        assert told.counts() == (1, 0)
    else:
        names = second_view.every(bench.content, vim.Datastore, "name").values()
        other = next(n["name"] for n in names if n["name"] != bench.backend.datastore)
        bench.ops.migrate_disk_and_power_off(None, instance, other, instance.flavor)
        bench.ops.finish_migration(None, None, instance, None, None, None)
        bench.ops.confirm_migration(None, instance, None)
        assert place(bench, instance)[1] >= {other}
    (drive,) = cdroms(bench, instance)
    assert drive.backing.fileName == path
    assert drive.connectable.startConnected
    assert Iso(drive_path(bench, instance)).label == "config-2"
    bench.ops.destroy(instance, None)
    assert not files_of(bench, instance)
