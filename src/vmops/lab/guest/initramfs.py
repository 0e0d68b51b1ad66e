"""The guest's first file system: just enough to find the root disk and go there."""

from __future__ import annotations

import gzip
from importlib.resources import files

from vmops.lab.guest.cpio import Entry, character_device, directory, regular, symlink, write_cpio
from vmops.lab.guest.kernel_modules import Module, alias_index, dependency_index

# The commands `files/initramfs/init` calls.
_COMMANDS = (
    *("cat", "cttyhack", "dd", "echo", "modprobe", "mount"),
    *("printf", "readlink", "setsid", "sh", "switch_root", "usleep"),
)


def build_initramfs(busybox: bytes, release: str, modules: list[Module]) -> bytes:
    """Return the compressed archive.

    Args:
        busybox: the statically linked program.
        release: the kernel's release, under which its modules are looked for.
        modules: what to take along, usually the drivers of disk controllers.
    """
    init = files(__package__).joinpath("files/initramfs/init").read_bytes()
    entries = [
        *(directory(name) for name in ("bin", "sbin", "dev", "proc", "sys", "disk")),
        character_device("dev/console", 5, 1),
        regular("bin/busybox", busybox, 0o755),
        regular("init", init, 0o755),
        *(symlink(f"bin/{name}", "busybox") for name in _COMMANDS),
        # Where the kernel looks for the program that loads a module it misses.
        symlink("sbin/modprobe", "../bin/busybox"),
        *_module_entries(release, modules),
    ]
    # Level 6 unpacks in the guest as fast as level 9 and is made in a third of the time.
    return gzip.compress(write_cpio(entries), compresslevel=6, mtime=0)


def _module_entries(release: str, modules: list[Module]) -> list[Entry]:
    root = f"lib/modules/{release}"
    folders = ["lib", "lib/modules", root]
    for module in modules:
        parts = module.path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = f"{root}/{'/'.join(parts[:depth])}"
            if folder not in folders:
                folders.append(folder)
    return [
        *(directory(folder) for folder in folders),
        *(regular(f"{root}/{module.path}", module.content) for module in modules),
        regular(f"{root}/modules.dep", dependency_index(modules).encode()),
        regular(f"{root}/modules.alias", alias_index(modules).encode()),
    ]
