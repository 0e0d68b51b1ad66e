"""Lays out the guest's root file system as a folder, for mke2fs to pack."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from vmops.child_environment import tool_environment
from vmops.lab.guest.errors import BuildFailed
from vmops.lab.guest.kernel_modules import Module, alias_index, dependency_index

_EMPTY_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "mnt", "root", "var/lib", "bin", "sbin")
# Ours call telinit; busybox's own would look for a process 1 that Debian leaves out.
_SECRET_FILES = {"etc/shadow": 0o600}


def lay_out_root(target: Path, busybox: Path, release: str, modules: list[Module]) -> None:
    """Fill the folder ``target``, which must not exist yet.

    Raises:
        BuildFailed: busybox does not run on this machine.
    """
    for folder in _EMPTY_FOLDERS:
        (target / folder).mkdir(parents=True, exist_ok=True)
    _copy_tree(files(__package__).joinpath("files/root"), target, "")
    shutil.copyfile(busybox, target / "bin/busybox")
    (target / "bin/busybox").chmod(0o755)
    for command in _busybox_commands(target / "bin/busybox"):
        folder = "sbin" if command == "modprobe" else "bin"
        link = target / folder / command
        if not (link.exists() or (target / "sbin" / command).exists()):
            link.symlink_to("/bin/busybox")
    (target / "var/lib/boots").write_text("0\n")
    module_root = target / "lib/modules" / release
    for module in modules:
        file = module_root / module.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(module.content)
    (module_root / "modules.dep").write_text(dependency_index(modules))
    (module_root / "modules.alias").write_text(alias_index(modules))


def _copy_tree(source: Traversable, target: Path, prefix: str) -> None:
    """Copy files out of the Python package, which keeps no modes: what has ``#!`` is a program."""
    for item in source.iterdir():
        name = f"{prefix}{item.name}"
        destination = target / name
        if item.is_dir():
            destination.mkdir(parents=True, exist_ok=True)
            _copy_tree(item, target, f"{name}/")
            continue
        content = item.read_bytes()
        destination.write_bytes(content)
        destination.chmod(_SECRET_FILES.get(name, 0o755 if content.startswith(b"#!") else 0o644))


def _busybox_commands(busybox: Path) -> list[str]:
    try:
        done = subprocess.run(
            [str(busybox), "--list"],
            env=tool_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildFailed(f"the guest's busybox does not run on this machine: {error}") from error
    return [name for name in done.stdout.split() if name != "busybox" and "/" not in name]
