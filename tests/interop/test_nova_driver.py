"""Nova's own vSphere driver against a lab without guests: the life of an instance.

The driver runs in the process that `make bench` measures; what it did is seen by pyVmomi and on
the datastore.
"""

from __future__ import annotations

import importlib.util
import ssl
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.workers import PROJECT, Worker
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

import vmops
from tests.backends import second_view
from vmops.lab.guest import boot_sector_disk
from vmops.lab.guest.conversion import convert_raw
from vmops.model.block_devices import VolumeKind
from vmops.ops.vmops.block_devices import connection_of
from vmops.ops.vmops.vmops import VMwareVMOps
from vmops.ops.volumes.made import WantedVolume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmops.lab import Lab

BENCH_PYTHON = PROJECT / ".venv-bench/bin/python"
MIB = 1024 * 1024
MAC = "00:50:56:3b:10:01"


def python_with_nova() -> str | None:
    """This interpreter or that of `make bench`, whichever has Nova."""
    if importlib.util.find_spec("nova") is not None:
        return sys.executable
    has_nova = any((BENCH_PYTHON.parents[1] / "lib").glob("python3*/site-packages/nova"))
    return str(BENCH_PYTHON) if BENCH_PYTHON.exists() and has_nova else None


# Importing Nova and reading the WSDL takes seconds, so one kind of server; an ESXi it refuses.
pytestmark = [
    pytest.mark.skipif(
        python_with_nova() is None, reason="nova is not installed: make bench installs it"
    ),
    pytest.mark.parametrize("lab", [False], indirect=True, ids=["vcenter"], scope="module"),
]


@dataclass
class Instance:
    driver: Worker
    content: Any
    uuid: str

    def do(self, what: str) -> Any:
        return self.driver.ask(what, uuid=self.uuid).result

    @property
    def vm(self) -> Any:
        return self.content.searchIndex.FindByUuid(None, self.uuid, True, True)

    @property
    def power_state(self) -> str:
        return str(self.vm.runtime.powerState)

    @property
    def disk(self) -> Any:
        (disk,) = [
            each
            for each in self.vm.config.hardware.device
            if isinstance(each, vim.vm.device.VirtualDisk)
        ]
        return disk


@pytest.fixture(scope="module")
def driver(lab: Lab) -> Iterator[Worker]:
    with Worker("nova_driver", python=python_with_nova()) as worker:
        worker.ask(
            "connect",
            url=lab.url,
            username=lab.username,
            password=lab.password,
            ca_file=str(lab.certificate_file),
            cluster="cluster1",
            datastore="datastore1",
            poll_s=0.02,
        )
        yield worker


@pytest.fixture(scope="module")
def content(lab: Lab, port: int) -> Iterator[Any]:
    context = ssl.create_default_context(cafile=str(lab.certificate_file))
    service = SmartConnect(
        host="127.0.0.1", port=port, user=lab.username, pwd=lab.password, sslContext=context
    )
    yield service.RetrieveContent()
    Disconnect(service)


def spawn(driver: Worker, content: Any, folder: Path, disk_type: str) -> Instance:
    raw, file = folder / "disk.raw", folder / f"{disk_type}.img"
    raw.write_bytes(boot_sector_disk(size_mib=2))
    convert_raw(raw, file, "streamOptimized" if disk_type == "streamOptimized" else "raw")
    instance = Instance(driver, content, str(uuid.uuid4()))
    driver.ask(
        "spawn",
        uuid=instance.uuid,
        name="nova-s-own",
        image={
            "id": str(uuid.uuid4()),
            "path": str(file),
            "disk_type": disk_type,
            "guest_id": "otherGuest",
        },
        size={"vcpus": 2, "memory_mb": 128, "root_gb": 1},
        network="dv-net",
    )
    return instance


@pytest.mark.parametrize("disk_type", ["preallocated", "streamOptimized"])
def test_the_life_of_an_instance(
    driver: Worker, content: Any, lab: Lab, tmp_path: Path, disk_type: str
) -> None:
    instance = spawn(driver, content, tmp_path, disk_type)
    assert instance.power_state == "poweredOn"
    assert instance.uuid in {each.value for each in instance.vm.config.extraConfig}
    assert (instance.vm.config.hardware.numCPU, instance.vm.config.hardware.memoryMB) == (2, 128)
    assert MAC in {getattr(each, "macAddress", "") for each in instance.vm.config.hardware.device}
    assert instance.disk.capacityInBytes == 1024 * MIB
    assert base_disk(lab, instance)[: 2 * MIB] == boot_sector_disk(size_mib=2)
    assert driver.ask("list_instances").result == 1

    for do, state in (
        ("power_off", "poweredOff"),
        ("power_on", "poweredOn"),
        ("reboot", "poweredOn"),
        ("suspend", "suspended"),
        ("resume", "poweredOn"),
    ):
        instance.do(do)
        assert instance.power_state == state, do

    base = Path(lab.datastore_root("datastore1")) / relative(instance.disk.backing.parent.fileName)
    folder = lab.datastore_root("datastore1") / instance.uuid
    assert folder.is_dir()
    instance.do("destroy")
    assert instance.vm is None
    assert not folder.exists()
    assert base.exists(), "the image's cached disk is there for the next instance"
    assert driver.ask("list_instances").result == 0


def test_a_volume_that_one_attached_the_other_takes_off(
    driver: Worker, content: Any, lab: Lab, tmp_path: Path
) -> None:
    """Nova's driver and ours know each other's volumes, and who has them."""
    instance = spawn(driver, content, tmp_path, "preallocated")
    with vmops.connect(lab.url, lab.username, lab.password, thumbprint=lab.thumbprint) as session:
        ours = VMwareVMOps(session, cluster_name="cluster1")
        wanted = WantedVolume(name="theirs-and-ours", size_bytes=4 * MIB, kind=VolumeKind.VMDK)
        made = ours.create_volume(wanted)
        connection = connection_of(made.volume)
        known = {"uuid": instance.uuid, "connection": connection}
        driver.ask("attach_volume", **known)
        assert disk_paths(instance)[1] == made.path
        assert ours.find_volume(made.name).attached_to == instance.uuid
        ours.detach_volume(None, connection, instance.uuid)
        assert len(disk_paths(instance)) == 1
        ours.attach_volume(None, connection, instance.uuid)
        assert disk_paths(instance)[1] == made.path
        driver.ask("detach_volume", **known)
        assert len(disk_paths(instance)) == 1
        assert ours.find_volume(made.name).attached_to == ""
        driver.ask("attach_volume", **known)
        ours.destroy(instance.uuid, None)
        assert ours.find_volume(made.name).attached_to == ""
        ours.delete_volume(made.name)


def disk_paths(instance: Instance) -> list[str]:
    return [
        each.backing.fileName
        for each in second_view.devices(instance.vm, vim.vm.device.VirtualDisk)
    ]


def test_the_driver_registered_itself(driver: Worker, content: Any) -> None:
    extension = content.extensionManager.FindExtension("org.openstack.compute")
    assert extension.description.label == "OpenStack"
    assert [each.type for each in extension.managedEntityInfo] == ["instance"]


def base_disk(lab: Lab, instance: Instance) -> bytes:
    """The bytes of the cached image that the instance's disk is a linked clone of."""
    descriptor = lab.datastore_root("datastore1") / relative(instance.disk.backing.parent.fileName)
    return descriptor.with_name(f"{descriptor.stem}-flat.vmdk").read_bytes()


def relative(path: str) -> str:
    return path.partition("] ")[2]
