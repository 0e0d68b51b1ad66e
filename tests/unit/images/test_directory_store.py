"""The image store that is a directory: what a person writes there, and what is never half there."""

import shutil
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.builders import qemu_img
from tests.image_files import a_bootable_iso, an_ova
from vmops.errors import AlreadyExists, ImageNotAcceptable, ImageNotFound, InvalidName
from vmops.images.directory_store import DirectoryImageStore
from vmops.lab.guest import build_boot_sector_guest
from vmops.model.image import AdapterType, DiskType, VifModel

MIB = 1 << 20
needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(range(256)) * 4096)
    return file


@pytest.fixture
def store(tmp_path: Path) -> DirectoryImageStore:
    return DirectoryImageStore(tmp_path / "images")


def add(store: DirectoryImageStore, disk: Path, name: str = "tiny", **more: Any) -> Any:
    return store.add(disk, name, disk_type=DiskType.PREALLOCATED, **more)


def test_an_added_image_is_found_by_name_and_by_id(store: DirectoryImageStore, disk: Path) -> None:
    added = add(store, disk, properties={"hw_vif_model": "vmxnet3"})
    assert store.get("tiny") == store.get(added.id) == added
    assert added.capacity_bytes == added.size_bytes == MIB
    assert added.properties.vif_model is VifModel.VMXNET3
    assert [image.name for image in store.list()] == ["tiny"]


def test_its_bytes_are_those_of_the_file(store: DirectoryImageStore, disk: Path) -> None:
    added = add(store, disk)
    with store.open(added) as stream:
        assert stream.read() == disk.read_bytes()
    assert added.checksum is not None
    assert added.checksum.startswith("sha256:")


def test_the_store_is_private(store: DirectoryImageStore, disk: Path) -> None:
    add(store, disk)
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700


def test_a_manifest_written_by_hand_is_an_image(store: DirectoryImageStore, disk: Path) -> None:
    store.directory.mkdir()
    shutil.copy(disk, store.directory / "mine.img")
    (store.directory / "mine.yaml").write_text(
        "name: mine\nfile: mine.img\ndisk_type: thin\nproperties: {hw_disk_bus: ide}\n"
    )
    image = store.get("mine")
    assert image.properties.adapter_type is AdapterType.IDE
    assert image.properties.disk_type is DiskType.THIN
    assert store.get(image.id) == image


def test_an_unknown_image_is_named_with_those_there_are(
    store: DirectoryImageStore, disk: Path
) -> None:
    add(store, disk)
    with pytest.raises(ImageNotFound, match=r"'huge'.*tiny"):
        store.get("huge")


def test_a_name_is_taken_once(store: DirectoryImageStore, disk: Path) -> None:
    added = add(store, disk)
    with pytest.raises(AlreadyExists):
        add(store, disk)
    assert store.get("tiny") == added


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ""])
def test_a_name_never_leaves_the_store(store: DirectoryImageStore, disk: Path, name: str) -> None:
    with pytest.raises(InvalidName):
        add(store, disk, name)
    assert not store.directory.exists()


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ("name: x\nfile: ../disk.raw\ndisk_type: thin\n", "cannot be used as a name"),
        ("name: x\nfile: /etc/passwd\ndisk_type: thin\n", "cannot be used as a name"),
        ("name: x\nfile: x.img\n", "disk_type"),
        ("name: x\nfile: x.img\ndisk_type: qcow2\n", "takes one of"),
        ("name: x\nfile: x.img\ndisk_type: thin\ncolour: red\n", "colour"),
        ("- a list\n", "mapping"),
        ("name: [\n", "YAML"),
        ("name: x\nfile: gone.img\ndisk_type: thin\n", "no image file"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong_and_hides_no_other_image(
    store: DirectoryImageStore, disk: Path, manifest: str, text: str
) -> None:
    add(store, disk)
    (store.directory / "x.yaml").write_text(manifest)
    with pytest.raises((ImageNotAcceptable, InvalidName), match=text):
        store.get("x")
    assert "tiny" in [image.name for image in store.list()]


def test_a_link_out_of_the_store_is_refused(store: DirectoryImageStore, disk: Path) -> None:
    store.directory.mkdir()
    (store.directory / "x.img").symlink_to(disk)
    (store.directory / "x.yaml").write_text("name: x\nfile: x.img\ndisk_type: thin\n")
    with pytest.raises(ImageNotAcceptable, match="link"):
        store.get("x")


def test_a_failed_add_leaves_nothing(store: DirectoryImageStore, disk: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add(store, disk, observe_bytes=interrupt)
    assert list(store.directory.iterdir()) == []


@pytest.mark.parametrize("name", ["n" * 196, "\u65e5" * 66, "\U0001f600" * 49], ids=len)
def test_a_name_that_leaves_no_room_for_its_files_is_refused(
    store: DirectoryImageStore, disk: Path, name: str
) -> None:
    with pytest.raises(InvalidName):
        add(store, disk, name)
    assert not store.directory.exists() or list(store.directory.iterdir()) == []


@pytest.mark.parametrize("name", ["n" * 195, "\u65e5" * 65, "\U0001f600" * 48], ids=len)
def test_the_longest_names_are_found_and_removed(
    store: DirectoryImageStore, disk: Path, name: str
) -> None:
    added = add(store, disk, name)
    assert [image.name for image in store.list()] == [name]
    assert store.get(name) == added
    store.remove(name)
    assert list(store.directory.iterdir()) == []


def test_a_file_of_a_new_images_name_stays(store: DirectoryImageStore, disk: Path) -> None:
    """A person's, or another image's: the store did not make it."""
    store.directory.mkdir()
    other = store.directory / "tiny.img"
    other.write_bytes(bytes(MIB))
    for _ in range(2):
        with pytest.raises(AlreadyExists, match=r"tiny\.img"):
            add(store, disk)
        assert [file.name for file in store.directory.iterdir()] == ["tiny.img"]
        assert other.read_bytes() == bytes(MIB)


_DIES = """
import os, sys
from pathlib import Path
from vmops.images import directory_store
from vmops.model.image import DiskType
real = getattr(directory_store, sys.argv[1])
def die(*arguments):
    if sys.argv[2] == "after":
        real(*arguments)
    os._exit(9)
setattr(directory_store, sys.argv[1], die)
store = directory_store.DirectoryImageStore(Path(sys.argv[3]))
store.add(Path(sys.argv[4]), "tiny", disk_type=DiskType.PREALLOCATED)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["give_new_name", "write_new"])
def test_an_add_that_dies_is_in_nobodys_way(
    store: DirectoryImageStore, disk: Path, what: str, when: str
) -> None:
    words = (sys.executable, "-c", _DIES, what, when, str(store.directory), str(disk))
    assert subprocess.run(words, check=False).returncode == 9
    if (what, when) == ("write_new", "after"):
        assert store.get("tiny").size_bytes == MIB
        add(store, disk, "other")
        store.remove("other")
    else:
        add(store, disk)
    with store.open(store.get("tiny")) as stream:
        assert stream.read() == disk.read_bytes()
    assert sorted(file.name for file in store.directory.iterdir()) == ["tiny.img", "tiny.yaml"]


def test_a_file_that_changed_since_is_not_given_out(store: DirectoryImageStore, disk: Path) -> None:
    added = add(store, disk)
    (store.directory / "tiny.img").write_bytes(bytes(512))
    with pytest.raises(ImageNotAcceptable, match="changed"), store.open(added):
        pass


def test_remove_takes_manifest_and_file(store: DirectoryImageStore, disk: Path) -> None:
    add(store, disk)
    store.remove("tiny")
    assert list(store.directory.iterdir()) == []
    with pytest.raises(ImageNotFound):
        store.remove("tiny")


def test_many_may_read_at_once(store: DirectoryImageStore, disk: Path) -> None:
    added = add(store, disk)
    read: list[bytes] = []

    def work() -> None:
        with store.open(added) as stream:
            read.append(stream.read())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [disk.read_bytes()] * 8


COMES_AND_GOES = """
import sys
from pathlib import Path
from vmops.errors import AlreadyExists, ImageNotFound
from vmops.images.directory_store import DirectoryImageStore
from vmops.model.image import DiskType
store = DirectoryImageStore(Path(sys.argv[1]))
while not Path(sys.argv[4]).exists():
    try:
        store.add(Path(sys.argv[2]), "passing", disk_type=DiskType.PREALLOCATED)
        store.remove("passing")
    except (AlreadyExists, ImageNotFound):
        assert sys.argv[3] == "remove"  # the other one is in the middle of removing it
"""


@pytest.mark.parametrize("deed", ["list", "get", "open", "remove"])
def test_what_another_process_removes_is_not_found(
    store: DirectoryImageStore, disk: Path, tmp_path: Path, deed: str
) -> None:
    """Never another error, whatever had been read of it; and the others are there all the time."""
    kept = add(store, disk)
    found: Counter[str] = Counter()
    stop = tmp_path / "stop"
    arguments = [str(store.directory), str(disk), deed, str(stop)]
    with subprocess.Popen([sys.executable, "-c", COMES_AND_GOES, *arguments]) as other:
        end = time.monotonic() + 120
        try:
            while min(found["there"], found["not found"]) < 10 and other.poll() is None:
                try:
                    found[do(store, deed, kept.name)] += 1
                except ImageNotFound:
                    found["not found"] += 1
                assert time.monotonic() < end, found
        finally:
            stop.touch()
    assert other.returncode == 0


def do(store: DirectoryImageStore, deed: str, kept: str) -> str:
    if deed == "list":
        names = {image.name for image in store.list()}
        assert kept in names
        return "there" if "passing" in names else "not found"
    if deed == "remove":
        store.remove("passing")
        return "there"
    image = store.get("passing")
    if deed == "open":
        with store.open(image) as stream:
            assert len(stream.read()) == image.size_bytes
    return "there"


def test_an_iso_is_kept_as_it_is(store: DirectoryImageStore, tmp_path: Path) -> None:
    file = a_bootable_iso(tmp_path / "boots.iso", b"code")
    added = store.add(file, "boots")
    assert (added.disk_format, added.capacity_bytes) == ("iso", None)
    assert (store.directory / "boots.iso").read_bytes() == file.read_bytes()
    with store.open(added) as stream:
        assert stream.read() == file.read_bytes()
    store.remove("boots")
    assert list(store.directory.iterdir()) == []


def test_an_archive_is_kept_as_it_is(store: DirectoryImageStore, tmp_path: Path) -> None:
    disk = build_boot_sector_guest(tmp_path / "disk.vmdk").read_bytes()
    added = store.add(an_ova(tmp_path / "app.ova", disk), "app")
    assert (added.container_format, added.capacity_bytes) == ("ova", MIB)
    assert added.properties.disk_type is DiskType.STREAM_OPTIMIZED
    assert store.get("app") == added
    assert (store.directory / "app.ova").is_file()


@needs_qemu_img
def test_raw_and_qcow2_become_stream_optimized(
    store: DirectoryImageStore, disk: Path, tmp_path: Path
) -> None:
    told = []
    added = store.add(disk, "was-raw", disk_format="raw", observe_bytes=lambda *n: told.append(n))
    assert added.properties.disk_type is DiskType.STREAM_OPTIMIZED
    assert (added.disk_format, added.capacity_bytes) == ("vmdk", MIB)
    assert told[-1] == (MIB, MIB)
    qcow2 = tmp_path / "disk.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, qcow2)
    again = store.add(qcow2, "was-qcow2")
    assert again.capacity_bytes == MIB
    names = sorted(file.name for file in store.directory.iterdir())
    assert names == ["was-qcow2.vmdk", "was-qcow2.yaml", "was-raw.vmdk", "was-raw.yaml"]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("name: x\nfile: x.iso\n", "disk_type"),
        ("name: x\nfile: x.iso\ndisk_format: qcow2\n", "but is iso"),
        ("name: x\nfile: x.iso\ncontainer_format: ova\n", "said to be ova, but is bare"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    store: DirectoryImageStore, tmp_path: Path, manifest: str, said: str
) -> None:
    store.directory.mkdir()
    a_bootable_iso(store.directory / "x.iso", b"code")
    (store.directory / "x.yaml").write_text(manifest)
    with pytest.raises(ImageNotAcceptable, match=said):
        store.get("x")
