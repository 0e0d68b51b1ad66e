from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import pytest

from vmops.lab.guest import PackageContentsChanged
from vmops.lab.guest.kernel_modules import alias_index, dependency_index, select_modules

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = "6.1.0-cloud-amd64"


def module(
    tree: Path, path: str, *, depends: str = "", aliases: tuple[str, ...] = (), xz: bool = False
) -> None:
    file = tree / "lib/modules" / RELEASE / path
    file.parent.mkdir(parents=True, exist_ok=True)
    info = [*(f"alias={alias}" for alias in aliases), f"depends={depends}", "name=x"]
    content = b"\x7fELF" + b"".join(b"\0" + line.encode() for line in info) + b"\0"
    file.write_bytes(lzma.compress(content) if xz else content)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    module(tmp_path, "kernel/scsi/scsi_common.ko")
    module(tmp_path, "kernel/scsi/scsi_mod.ko.xz", depends="scsi-common", xz=True)
    module(
        tmp_path,
        "kernel/scsi/vmw_pvscsi.ko",
        depends="scsi_mod",
        aliases=("pci:v000015ADd000007C0sv*", "pci:v1*"),
    )
    (tmp_path / "lib/modules" / RELEASE / "modules.builtin").write_text("kernel/fs/ext4.ko\n")
    return tmp_path


def test_a_module_comes_after_all_it_needs(tree: Path) -> None:
    modules = select_modules(tree, RELEASE, ("vmw_pvscsi", "ext4", "e1000"))
    assert [found.name for found in modules] == ["scsi_common", "scsi_mod", "vmw_pvscsi"]
    assert [found.content[:4] for found in modules] == [b"\x7fELF"] * 3


def test_the_indexes_are_those_of_modprobe(tree: Path) -> None:
    modules = select_modules(tree, RELEASE, ("vmw_pvscsi",))
    assert dependency_index(modules) == (
        "kernel/scsi/scsi_common.ko:\n"
        "kernel/scsi/scsi_mod.ko: kernel/scsi/scsi_common.ko\n"
        "kernel/scsi/vmw_pvscsi.ko: kernel/scsi/scsi_mod.ko kernel/scsi/scsi_common.ko\n"
    )
    assert alias_index(modules) == (
        "alias pci:v000015ADd000007C0sv* vmw_pvscsi\nalias pci:v1* vmw_pvscsi\n"
    )


def test_what_two_modules_share_is_loaded_before_both(tmp_path: Path) -> None:
    module(tmp_path, "kernel/virtio_ring.ko")
    module(tmp_path, "kernel/virtio.ko", depends="virtio_ring")
    module(tmp_path, "kernel/virtio_pci.ko", depends="virtio_ring,virtio")
    *_, last = dependency_index(select_modules(tmp_path, RELEASE, ("virtio_pci",))).splitlines()
    # modprobe goes from right to left.
    assert last == "kernel/virtio_pci.ko: kernel/virtio.ko kernel/virtio_ring.ko"


def test_a_module_that_ought_to_be_there_is_missed(tree: Path) -> None:
    with pytest.raises(PackageContentsChanged, match=r"6\.1\.0-cloud-amd64 has no module sr_mod"):
        select_modules(tree, RELEASE, ("sr_mod",))
