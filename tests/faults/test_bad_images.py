"""Images that cannot be used: one clear message, before or after they are in the store."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends.files import TEMPORARY
from tests.builders import Images, a_disk, an_instance, qemu_img
from tests.contract.engine import Bench
from vmops import DirectoryImageStore
from vmops.errors import ImageNotAcceptable, ImageNotFound, InvalidName, VMOpsError
from vmops.model.image import DiskType

PASSWD = """# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"
RW 8 FLAT "/etc/passwd" 0
ddb.adapterType = "lsilogic"
"""


def truncated(folder: Path, whole: Path) -> Path:
    file = folder / "truncated.vmdk"
    file.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return file


def empty(folder: Path, whole: Path) -> Path:
    (folder / "empty.vmdk").write_bytes(b"")
    return folder / "empty.vmdk"


def text(folder: Path, whole: Path) -> Path:
    (folder / "text.vmdk").write_bytes(b"hello\n" * 1000)
    return folder / "text.vmdk"


def descriptor_of_another_file(folder: Path, whole: Path) -> Path:
    (folder / "passwd.vmdk").write_text(PASSWD)
    return folder / "passwd.vmdk"


def embedded_descriptor_of_another_file(folder: Path, whole: Path) -> Path:
    """A sound header, whose descriptor names a file of this machine."""
    content = bytearray(whole.read_bytes())
    at, sectors = struct.unpack_from("<QQ", content, 28)
    descriptor = PASSWD.replace("monolithicFlat", "streamOptimized").encode()
    content[at * 512 : (at + sectors) * 512] = descriptor.ljust(sectors * 512, b"\0")
    (folder / "trap.vmdk").write_bytes(content)
    return folder / "trap.vmdk"


def qcow2_with_a_backing_file(folder: Path, whole: Path) -> Path:
    file = folder / "backed.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", file, "1M")
    return file


def missing(folder: Path, whole: Path) -> Path:
    return folder / "not-there.vmdk"


BAD: list[tuple[Callable[[Path, Path], Path], str]] = [
    (truncated, "cut off"),
    (empty, "empty"),
    (text, "not a VMDK|no format"),
    (descriptor_of_another_file, "descriptor"),
    (embedded_descriptor_of_another_file, "refused"),
    (qcow2_with_a_backing_file, "qcow2|refused"),
    (missing, "no image file"),
]


@pytest.mark.parametrize(("make", "says"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_it_is_not_taken_into_the_store(
    make: Callable[[Path, Path], Path], says: str, images: Images, tmp_path: Path
) -> None:
    store = DirectoryImageStore(tmp_path / "store")
    bad = make(tmp_path, images.store.directory / "streamOptimized.vmdk")
    with pytest.raises(ImageNotAcceptable, match=says):
        store.add(bad, "bad")
    assert not list((tmp_path / "store").glob("*"))


@pytest.mark.parametrize(("make", "says"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_it_is_not_spawned_from_when_somebody_put_it_there(
    bench: Bench, make: Callable[[Path, Path], Path], says: str, images: Images, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    bad = make(folder, images.store.directory / "streamOptimized.vmdk")
    manifest = {"name": "bad", "file": bad.name, "disk_type": "streamOptimized"}
    (folder / "bad.yaml").write_text(json.dumps(manifest))
    before = bench.world()
    with pytest.raises(ImageNotAcceptable, match=says):
        bench.spawn("bad", ops=bench.engine(images=DirectoryImageStore(folder)))
    assert bench.world() == before


@pytest.mark.parametrize("make", [truncated, empty, text], ids=lambda make: make.__name__)
def test_one_that_changes_after_it_was_looked_at_is_noticed(
    bench: Bench, make: Callable[[Path, Path], Path], images: Images, tmp_path: Path
) -> None:
    store = DirectoryImageStore(tmp_path / "store")
    source = images.store.directory / "streamOptimized.vmdk"
    image = store.add(source, "soon-bad")
    bad = make(tmp_path, source)
    bad.replace(tmp_path / "store" / "soon-bad.vmdk")
    before = bench.world()
    with pytest.raises(ImageNotAcceptable):
        # The engine is given an image that was read before.
        bench.engine(images=store).spawn(None, an_instance(), image, None)
    assert bench.vms() == before[0]
    assert not [path for path in bench.tree() if TEMPORARY in path]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a/../b"])
def test_a_name_that_leaves_the_store_is_refused(
    bench: Bench, images: Images, tmp_path: Path, name: str
) -> None:
    store = DirectoryImageStore(tmp_path / "store")
    with pytest.raises(InvalidName):
        store.add(images.store.directory / "streamOptimized.vmdk", name)
    with pytest.raises(ImageNotFound):
        store.get(name)
    (tmp_path / "store").mkdir(exist_ok=True)
    manifest = {"name": "trap", "file": name, "disk_type": "preallocated"}
    (tmp_path / "store" / "trap.yaml").write_text(json.dumps(manifest))
    with pytest.raises(VMOpsError):
        store.get("trap")


def test_an_image_id_that_leaves_the_cache_is_refused(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "x.img").write_bytes(a_disk())
    manifest = {
        "id": "../../../outside",
        "name": "trap",
        "file": "x.img",
        "disk_type": DiskType.PREALLOCATED.value,
    }
    (folder / "trap.yaml").write_text(json.dumps(manifest))
    before = bench.world()
    with pytest.raises(InvalidName):
        bench.spawn("trap", ops=bench.engine(images=DirectoryImageStore(folder)))
    assert bench.world() == before
