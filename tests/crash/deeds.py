"""The operations by name, as an engine of any process does them: (engine, instance's UUID, extra).

``extra`` is what one of them needs beside: a volume's connection, a host's name, a MAC address.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.builders import MEMORY_MIB
from vmops import DirectoryImageStore, Flavor, Instance, Vif, VMwareVMOps
from vmops.errors import ImageNotFound, InstanceNotFound
from vmops.model.image import DiskType
from vmops.ops.volumes.made import WantedVolume

Deed = Callable[[VMwareVMOps, str, dict[str, Any]], object]

MIB = 1024 * 1024
LARGER = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB, root_gib=2, ephemeral_gib=1)
MACS = ("00:50:56:3d:0c:01", "00:50:56:3d:0c:02")
NETWORK = "VM Network"
TIMES = 20
"""How often a deed does what takes no time."""


def instance_of(
    uuid: str, root_gib: int = 0, ephemeral_gib: int = 0, swap_mib: int = 0
) -> Instance:
    flavor = Flavor(
        vcpus=1,
        memory_mib=MEMORY_MIB,
        root_gib=root_gib,
        ephemeral_gib=ephemeral_gib,
        swap_mib=swap_mib,
    )
    return Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=flavor)


def _spawn(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    options = {**extra}
    image, flavor = options.pop("image"), options.pop("flavor", {"root_gib": 1})
    vifs = [Vif(network=NETWORK, mac_address=MACS[0])]
    ops.spawn(
        None, instance_of(uuid, **flavor), image, vifs, options.pop("devices", None), **options
    )


def _finish(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    ops.finish_migration(None, None, uuid, None, None, None, True)


def _live(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    dest, block = extra["dest"], extra["block"]
    ops.live_migration(None, uuid, dest, lambda *_: None, lambda *_: None, block)


def _vif(extra: dict[str, Any]) -> Vif:
    return Vif(network=NETWORK, mac_address=MACS[1], id="port-1")


def _create_volume(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    ops.create_volume(WantedVolume(name="made", size_bytes=4 * MIB))


def _image_source(ops: VMwareVMOps) -> tuple[DirectoryImageStore, Path]:
    """The store of the engine, and a file beside it that is the image "flat"."""
    store = ops._images
    assert isinstance(store, DirectoryImageStore)
    source = store.directory.with_name("flat-source.img")
    if not source.exists():
        new = source.with_suffix(f".{os.getpid()}")
        shutil.copyfile(store.directory / "flat.img", new)
        new.replace(source)
    return store, source


def _replace_image(ops: VMwareVMOps, name: str = "flat") -> None:
    store, source = _image_source(ops)
    with suppress(ImageNotFound):
        store.remove(name)
    store.add(source, name, disk_type=DiskType.PREALLOCATED)


def _replace_images(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    for _ in range(TIMES):
        _replace_image(ops, "passing")


def _image_lists(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    store, _ = _image_source(ops)
    for _ in range(TIMES):
        assert {image.name for image in store.list()} >= {"flat", "sparse"}
        with suppress(ImageNotFound), store.open(store.get("passing")) as stream:
            assert len(stream.read(1)) == 1


def _lists(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    for _ in range(TIMES):
        if uuid in ops.list_instances():
            with suppress(InstanceNotFound):
                ops.get_info(uuid)


def _passing_volumes(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    for number in range(TIMES // 4):
        ops.create_volume(WantedVolume(name=f"passing-{number}", size_bytes=MIB))
        ops.delete_volume(f"passing-{number}")


def _volume_lists(ops: VMwareVMOps, uuid: str, extra: dict[str, Any]) -> None:
    for _ in range(TIMES):
        ops.list_volumes()


DEEDS: dict[str, Deed] = {
    "spawn": _spawn,
    "destroy": lambda ops, uuid, extra: ops.destroy(uuid, None),
    "snapshot": lambda ops, uuid, extra: ops.snapshot(None, uuid, "made", lambda **_: None),
    "rescue": lambda ops, uuid, extra: ops.rescue(None, uuid, None, "flat"),
    "unrescue": lambda ops, uuid, extra: ops.unrescue(uuid),
    "migrate": lambda ops, uuid, extra: ops.migrate_disk_and_power_off(None, uuid, "", LARGER),
    "finish": _finish,
    "confirm": lambda ops, uuid, extra: ops.confirm_migration(None, uuid, None),
    "revert": lambda ops, uuid, extra: ops.finish_revert_migration(uuid, None),
    "live migration": _live,
    "attach volume": lambda ops, uuid, extra: ops.attach_volume(None, extra["volume"], uuid),
    "detach volume": lambda ops, uuid, extra: ops.detach_volume(None, extra["volume"], uuid),
    "create volume": _create_volume,
    "delete volume": lambda ops, uuid, extra: ops.delete_volume("made"),
    "attach interface": lambda ops, uuid, extra: ops.attach_interface(
        None, uuid, None, _vif(extra)
    ),
    "detach interface": lambda ops, uuid, extra: ops.detach_interface(None, uuid, _vif(extra)),
    "power on": lambda ops, uuid, extra: ops.power_on(None, uuid),
    "power off": lambda ops, uuid, extra: ops.power_off(uuid),
    "reboot": lambda ops, uuid, extra: ops.reboot(uuid, None, "HARD"),
    "suspend": lambda ops, uuid, extra: ops.suspend(uuid),
    "resume": lambda ops, uuid, extra: ops.resume(uuid),
    "pause": lambda ops, uuid, extra: ops.pause(uuid),
    "unpause": lambda ops, uuid, extra: ops.unpause(uuid),
    "list": lambda ops, uuid, extra: ops.list_instances(),
    "info": lambda ops, uuid, extra: ops.get_info(uuid),
    "lists": _lists,
    "volume lists": _volume_lists,
    "passing volumes": _passing_volumes,
    "replace image": lambda ops, uuid, extra: _replace_image(ops),
    "replace images": _replace_images,
    "image lists": _image_lists,
    "sleep": lambda ops, uuid, extra: time.sleep(extra["seconds"]),
}
