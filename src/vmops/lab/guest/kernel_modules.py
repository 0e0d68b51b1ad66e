"""Chooses kernel modules, and writes the two indexes by which modprobe finds them.

A module says in its ``.modinfo`` section what it depends on and which devices it drives
(``depends=`` and ``alias=``). A Debian package holds no index (depmod writes it on install), so
the index of just the chosen modules is written here, in the text form busybox reads.
"""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from vmops.lab.guest.errors import PackageContentsChanged

# What the initramfs needs to find the root disk, whatever controller it hangs on.
BOOT_MODULES = (
    "sd_mod",
    "vmw_pvscsi",
    "ata_piix",
    "ahci",
    "nvme",
    "mptsas",
    "mptspi",
    "sym53c8xx",
    "virtio_pci",
    "virtio_scsi",
    "virtio_blk",
    "qemu_fw_cfg",
    # In the cloud kernel itself; the generic one has them as modules.
    "ext4",
    "crc32c_generic",
)
# What the running guest needs besides.
ROOT_MODULES = (
    "vmxnet3",
    "e1000",
    "e1000e",
    "pcnet32",
    "virtio_net",
    "virtio_console",
    "sr_mod",
    "isofs",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "button",
    "evdev",
)
# Debian's cloud kernel leaves these out; a guest on such a device needs the kernel "amd64".
_ABSENT_IN_CLOUD_KERNEL = frozenset(
    {"ahci", "mptsas", "mptspi", "sym53c8xx", "e1000", "e1000e", "pcnet32"}
)
_MODINFO = re.compile(rb"(?:^|\0)(depends|alias)=([^\0]*)(?=\0)")


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel module; ``path`` is relative to ``/lib/modules/<release>``."""

    name: str
    path: str
    content: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def module_name(text: str) -> str:
    """The kernel's spelling of a module's name: dashes and underscores are the same letter."""
    return text.replace("-", "_")


def read_module(file: Path, path: str) -> Module:
    """Read a module and what it says of itself."""
    content = file.read_bytes()
    if file.suffix == ".xz":  # as Debian ships them from version 13 on
        content = lzma.decompress(content)
    depends: list[str] = []
    aliases: list[str] = []
    for key, value in _MODINFO.findall(content):
        if key == b"alias":
            aliases.append(value.decode("ascii"))
        else:
            depends += [module_name(name) for name in value.decode("ascii").split(",") if name]
    return Module(
        name=module_name(file.name.partition(".")[0]),
        path=path.removesuffix(".xz"),
        content=content,
        depends=tuple(depends),
        aliases=tuple(aliases),
    )


def select_modules(tree: Path, release: str, names: tuple[str, ...]) -> list[Module]:
    """The named modules and all they depend on, each after what it depends on.

    Modules that are built into the kernel, or that the cloud kernel is known to lack, are
    passed over.

    Raises:
        PackageContentsChanged: a module is neither there, nor built in, nor known to be absent.
    """
    root = tree / "lib/modules" / release
    files = {
        module_name(file.name.partition(".")[0]): file
        for pattern in ("kernel/**/*.ko", "kernel/**/*.ko.xz")
        for file in root.glob(pattern)
    }
    builtin_list = root / "modules.builtin"
    builtin = (
        {module_name(Path(line).stem) for line in builtin_list.read_text().splitlines()}
        if builtin_list.is_file()
        else set()
    )
    chosen: dict[str, Module] = {}

    def add(name: str) -> None:
        if name in chosen:
            return
        file = files.get(name)
        if file is None:
            if name in builtin or name in _ABSENT_IN_CLOUD_KERNEL:
                return
            raise PackageContentsChanged(f"kernel {release} has no module {name}")
        module = read_module(file, file.relative_to(root).as_posix())
        for dependency in module.depends:
            add(dependency)
        chosen[name] = module

    for name in names:
        add(name)
    return list(chosen.values())


def dependency_index(modules: list[Module]) -> str:
    """``modules.dep``: per line a module and all it needs, directly or not.

    modprobe loads them from the last to the first, so each stands before what it needs itself.
    """
    by_name = {module.name: module for module in modules}

    def needed_first(module: Module, seen: list[str]) -> list[str]:
        for name in module.depends:
            if name in by_name and by_name[name].path not in seen:
                needed_first(by_name[name], seen)
                seen.append(by_name[name].path)
        return seen

    return "".join(
        f"{module.path}:{''.join(' ' + path for path in reversed(needed_first(module, [])))}\n"
        for module in modules
    )


def alias_index(modules: list[Module]) -> str:
    """``modules.alias``: per line a pattern of device names and the module that drives them."""
    return "".join(
        f"alias {alias} {module.name}\n" for module in modules for alias in module.aliases
    )
