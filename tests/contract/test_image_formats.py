"""Images that are no bare VMDK: ISO, OVA, qcow2 and raw, held by a store as they came."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, an_instance, qemu_img
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.image_files import Remote, a_bootable_iso, an_archive, an_ova, an_ovf
from vmops import DirectoryImageStore, VMwareVMOps
from vmops.errors import ImageNotAcceptable, InstanceUnacceptable
from vmops.lab.guest import boot_sector_disk
from vmops.model.image import Image

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")
GIB = 1024**3


class Held:
    """A store with one image of another format, which it holds as it came, and an engine on it."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.store = DirectoryImageStore(folder)
        folder.mkdir()

    def hold(self, make: Callable[[Bench, Path], Path], kind: str) -> VMwareVMOps:
        """Put the file there with a manifest as a person writes it."""
        file = make(self.bench, self.folder)
        manifest = (
            f"name: held\nfile: {file.name}\n{kind}\nproperties: {{vmware_ostype: otherGuest}}"
        )
        (self.folder / "held.yaml").write_text(manifest)
        return self.bench.engine(images=self.store)


@pytest.fixture
def held(bench: Bench, tmp_path: Path) -> Held:
    return Held(bench, tmp_path / "held")


def raw(bench: Bench, folder: Path) -> Path:
    (folder / "disk.raw").write_bytes(bench.images.disk)
    return folder / "disk.raw"


def qcow2(bench: Bench, folder: Path) -> Path:
    source, target = raw(bench, folder), folder / "disk.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", source, target)
    return target


def vhd(bench: Bench, folder: Path) -> Path:
    source, target = raw(bench, folder), folder / "disk.vhd"
    qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", source, target)
    return target


def vhdx(bench: Bench, folder: Path) -> Path:
    source, target = raw(bench, folder), folder / "disk.vhdx"
    qemu_img("convert", "-f", "raw", "-O", "vhdx", source, target)
    return target


def vdi(bench: Bench, folder: Path) -> Path:
    source, target = raw(bench, folder), folder / "disk.vdi"
    qemu_img("convert", "-f", "raw", "-O", "vdi", source, target)
    return target


def ova(bench: Bench, folder: Path) -> Path:
    return an_ova(folder / "app.ova", bench.images._file("streamOptimized").read_bytes())


def iso(bench: Bench, folder: Path) -> Path:
    return a_bootable_iso(folder / "boots.iso", boot_sector_disk())


HELD = [
    pytest.param(raw, "disk_format: raw", id="raw", marks=needs_qemu_img),
    pytest.param(qcow2, "disk_format: qcow2", id="qcow2", marks=needs_qemu_img),
    pytest.param(vhd, "disk_format: vhd", id="vhd", marks=needs_qemu_img),
    pytest.param(vhdx, "disk_format: vhdx", id="vhdx", marks=needs_qemu_img),
    pytest.param(vdi, "disk_format: vdi", id="vdi", marks=needs_qemu_img),
    pytest.param(ova, "container_format: ova", id="ova"),
]


def cdroms(bench: Bench, instance: Any) -> list[Any]:
    return second_view.devices(bench.vm(instance), vim.vm.device.VirtualCdrom)


def disks(bench: Bench, instance: Any) -> list[Any]:
    return second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)


@needs(Capability.DISK_BYTES, Capability.NFC_IMPORT)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize(("make", "kind"), HELD)
def test_its_disk_holds_the_bytes_of_the_image(
    bench: Bench, held: Held, make: Any, kind: str, linked: bool
) -> None:
    ops = held.hold(make, kind)
    instance = bench.spawn("held", ops=ops, linked_clone=linked, power_on=False)
    disk = bench.root_disk(instance)
    assert disk.capacityInKB * 1024 == CAPACITY
    assert bench.disk_digest(disk.backing.fileName, CAPACITY) == bench.image_digest()


@needs(Capability.NFC_IMPORT)
@pytest.mark.parametrize(("make", "kind"), HELD)
def test_the_second_spawn_finds_it_in_the_cache(
    bench: Bench, held: Held, make: Any, kind: str
) -> None:
    ops = held.hold(make, kind)
    bench.spawn("held", ops=ops)
    bench.events.clear()
    bench.spawn("held", ops=ops)
    assert "cache image" not in {operation for operation, _ in bench.steps()}


@needs(Capability.GUEST, Capability.NFC_IMPORT)
@pytest.mark.parametrize(("make", "kind"), HELD)
@pytest.mark.every_case
def test_a_guest_boots_from_it(bench: Bench, held: Held, make: Any, kind: str) -> None:
    instance = bench.spawn("held", ops=held.hold(make, kind))
    bench.serial(instance).wait_for("boot 1\r\n")


@pytest.mark.parametrize(("make", "kind"), HELD)
def test_a_bigger_one_than_the_flavor_is_refused_before_anything_is_there(
    bench: Bench, held: Held, make: Any, kind: str
) -> None:
    before = bench.vms()
    ops = held.hold(make, kind)
    big = held.store.get("held")
    big = Image(**{**_fields(big), "capacity_bytes": 2 * GIB})
    with pytest.raises(InstanceUnacceptable, match="2 GiB"):
        ops.spawn(None, an_instance(root_gib=1), big, None)
    assert bench.vms() == before


def _fields(image: Image) -> dict[str, Any]:
    return {name: getattr(image, name) for name in image.__slots__}


@pytest.mark.parametrize("root_gib", [0, 1])
def test_an_iso_image_is_in_a_drive_beside_a_blank_disk(
    bench: Bench, held: Held, root_gib: int
) -> None:
    ops = held.hold(iso, "disk_format: iso")
    image = held.store.get("held")
    instance = bench.spawn("held", ops=ops, instance=an_instance(root_gib=root_gib))
    (drive,) = cdroms(bench, instance)
    cached = f"[{bench.backend.datastore}] {bench.backend.cache_folder}/{image.id}/{image.id}.iso"
    assert drive.backing.fileName == cached
    assert drive.connectable.startConnected
    sizes = [disk.capacityInKB * 1024 for disk in disks(bench, instance)]
    assert sizes == ([GIB] if root_gib else [])


@needs(Capability.LOCAL_FILES)
def test_an_iso_image_is_cached_once_and_stays_when_its_instances_go(
    bench: Bench, held: Held
) -> None:
    ops = held.hold(iso, "disk_format: iso")
    first = bench.spawn("held", ops=ops)
    bench.events.clear()
    second = bench.spawn("held", ops=ops, config_drive=True)
    assert "cache image" not in {operation for operation, _ in bench.steps()}
    for instance in (first, second):
        ops.destroy(instance, None)
    cached = bench.root() / bench.backend.cache_folder
    (entry,) = cached.rglob("*.iso")
    assert entry.read_bytes() == (held.folder / "boots.iso").read_bytes()


def test_an_iso_image_is_uploaded_once_for_many_spawns_at_once(bench: Bench, held: Held) -> None:
    ops = held.hold(iso, "disk_format: iso")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: bench.spawn("held", ops=ops), range(8)))
    uploads = [title for _, title in bench.steps() if title == "Upload the ISO image"]
    assert len(uploads) == 1
    names = {cdroms(bench, instance)[0].backing.fileName for instance in made}
    assert len(names) == 1


@needs(Capability.GUEST)
@pytest.mark.parametrize("root_gib", [0, 1])
def test_a_guest_boots_from_an_iso_image(bench: Bench, held: Held, root_gib: int) -> None:
    """Its boot sector finds no disk that it could write to, and says so after its name."""
    ops = held.hold(iso, "disk_format: iso")
    instance = bench.spawn("held", ops=ops, instance=an_instance(root_gib=root_gib))
    bench.serial(instance).wait_for("vmops boot sector\r\n")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"disk_format": "qed"}, "qed"),
        ({"container_format": "docker"}, "docker"),
        ({"disk_format": "", "container_format": "bare"}, "known are"),
    ],
)
def test_an_unknown_format_is_refused_before_anything_is_there(
    bench: Bench, changes: dict[str, str], words: str
) -> None:
    before = bench.world()
    image = Image(**{**_fields(bench.images.store.get("flat")), **changes})
    with pytest.raises(ImageNotAcceptable, match=words):
        bench.ops.spawn(None, an_instance(), image, None)
    assert bench.world() == before


def test_an_ova_without_a_disk_is_refused_before_anything_is_there(
    bench: Bench, held: Held
) -> None:
    def empty(bench: Bench, folder: Path) -> Path:
        return an_archive(folder / "empty.ova", {"a.ovf": an_ovf().replace(b"fileRef", b"none")})

    before = bench.vms()
    ops = held.hold(empty, "container_format: ova")
    with pytest.raises(ImageNotAcceptable, match="no VMDK"):
        bench.spawn("held", ops=ops)
    assert bench.vms() == before


@needs(Capability.NFC_IMPORT, Capability.LOCAL_FILES)
@pytest.mark.parametrize("sound", [True, False], ids=["sound", "damaged"])
def test_an_ova_from_a_store_elsewhere_is_checked_while_it_is_sent(
    bench: Bench, tmp_path: Path, sound: bool
) -> None:
    """Its digest is known at its end only: by then all but the last bytes have been sent."""
    content = ova(bench, tmp_path).read_bytes()
    if not sound:
        at = content.index(b"KDMV") + CAPACITY // 4
        content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    store = Remote(content)
    ops = bench.engine(images=store)
    before = bench.world()
    instance = an_instance()
    image = store.image(container_format="ova")
    if sound:
        ops.spawn(None, instance, image, None)
        assert bench.root_disk(instance).capacityInKB * 1024 == CAPACITY
        return
    with pytest.raises(ImageNotAcceptable, match=r"'first.vmdk' in the archive is damaged"):
        ops.spawn(None, instance, image, None)
    assert bench.vms() == before[0]
    assert bench.tree().keys() - before[1].keys() <= {f"[{bench.backend.datastore}] {cache(bench)}"}


def cache(bench: Bench) -> str:
    return bench.backend.cache_folder


@needs_qemu_img
@needs(Capability.NFC_IMPORT, Capability.LOCAL_FILES)
def test_a_qcow2_that_names_another_file_is_refused_and_nothing_is_left(
    bench: Bench, tmp_path: Path
) -> None:
    trap = tmp_path / "trap.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", trap, "1M")
    store = Remote(trap.read_bytes())
    ops = bench.engine(images=store)
    before = bench.world()
    with pytest.raises(ImageNotAcceptable, match="refused"):
        ops.spawn(None, an_instance(), store.image("qcow2"), None)
    assert bench.world() == before
