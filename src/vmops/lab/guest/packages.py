"""The Debian packages a guest is made of: fetched once, unpacked, never installed.

``apt-get download`` needs no root and checks every package against the signed package lists,
and ``dpkg-deb -x`` unpacks into a plain folder. A cache folder keeps both, so that a second
build neither needs the network nor asks apt anything: it goes on with the versions it has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from vmops.child_environment import downloader_environment
from vmops.lab.guest.errors import PackageContentsChanged, PackagesUnavailable

Kernel = Literal["cloud", "generic"]
"""Debian's cloud kernel boots in half the time; the generic one has all drivers."""

_KERNEL_METAPACKAGES: dict[Kernel, str] = {
    "cloud": "linux-image-cloud-amd64",
    "generic": "linux-image-amd64",
}
_KERNEL_PACKAGES: dict[Kernel, re.Pattern[str]] = {
    "cloud": re.compile(r"linux-image-[0-9][0-9a-z.+~-]*-cloud-amd64"),
    "generic": re.compile(r"linux-image-[0-9][0-9.+~-]*(?:\+deb[0-9]+)?-amd64"),
}
_BASE_PACKAGES = ("busybox-static", "syslinux", "syslinux-common")
# Packages holding a program, with the libraries of their own source that it is linked with.
_TOOL_PACKAGES = {
    "mcopy": ("mtools",),
    "mke2fs": ("e2fsprogs", "libext2fs2", "libcom-err2", "libss2"),
}
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_DOWNLOAD_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Packages:
    """Unpacked packages: ``trees`` maps a package's name to its folder.

    ``versions`` maps a package's name to the file name of its .deb, which carries the version.
    """

    trees: dict[str, Path]
    versions: dict[str, str]

    def file(self, package: str, relative: str) -> Path:
        """A file of a package.

        Raises:
            PackageContentsChanged: the package has no such file.
        """
        path = self.trees[package] / relative
        if not path.is_file():
            raise PackageContentsChanged(f"{self.versions[package]} holds no {relative}")
        return path

    @property
    def kernel(self) -> str:
        """Name of the versioned kernel package."""
        return next(name for name in self.trees if name.startswith("linux-image-"))

    @property
    def kernel_release(self) -> str:
        """What ``uname -r`` says in the guest, for example ``6.1.0-56-cloud-amd64``."""
        return self.kernel.removeprefix("linux-image-")

    def tool_environment(self) -> dict[str, str]:
        """Environment in which the builder's tools are found: the machine's first, then ours.

        Nothing of the caller's environment but ``HOME`` is passed on, so that a private
        ``mtools.conf`` or ``mke2fs.conf`` cannot change what is built.
        """
        folders = list(_SYSTEM_PATH)
        libraries: list[str] = []
        for tree in self.trees.values():
            folders += [str(tree / sub) for sub in ("usr/bin", "usr/sbin", "bin", "sbin")]
            libraries += [str(path) for path in tree.glob("**/x86_64-linux-gnu") if path.is_dir()]
        environment = {"PATH": ":".join(folders), "LC_ALL": "C", "HOME": "/nonexistent"}
        if libraries:
            environment["LD_LIBRARY_PATH"] = ":".join(libraries)
        return environment


def fetch_packages(cache_dir: Path, *, kernel: Kernel = "cloud", refresh: bool = False) -> Packages:
    """Return the packages a guest is made of, fetching what the cache lacks.

    Args:
        cache_dir: folder that keeps the .deb files and their unpacked trees; it is created.
        kernel: whose kernel to take.
        refresh: ask apt for the newest versions even where the cache holds one.

    Raises:
        PackagesUnavailable: there is no apt or no dpkg-deb, it knows no such package, or the
            download failed; the text says what to do.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    lock = cache_dir / "packages.json"
    known = {} if refresh else _read_versions(lock, cache_dir)
    wanted = _wanted_packages(known, kernel)
    missing = [name for name in wanted if name not in known]
    if missing:
        known = {**_read_versions(lock, cache_dir), **_download(missing, cache_dir)}
        lock.write_text(json.dumps(known, indent=1))
    trees = {name: _unpack(cache_dir / known[name], cache_dir) for name in wanted}
    return Packages(trees=trees, versions={name: known[name] for name in wanted})


def _read_versions(lock: Path, cache_dir: Path) -> dict[str, str]:
    """Package name to .deb file name, of those that are still in the cache."""
    try:
        content = json.loads(lock.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        str(name): str(deb)
        for name, deb in content.items()
        if "/" not in str(deb) and (cache_dir / str(deb)).is_file()
    }


def _wanted_packages(known: dict[str, str], kernel: Kernel) -> list[str]:
    pattern = _KERNEL_PACKAGES[kernel]
    have = [name for name in known if pattern.fullmatch(name)]
    # Of several kept kernels the one fetched last.
    wanted = [have[-1] if have else _versioned_kernel(kernel), *_BASE_PACKAGES]
    for program, packages in _TOOL_PACKAGES.items():
        if shutil.which(program, path=":".join(_SYSTEM_PATH)) is None:
            wanted += packages
    return wanted


def _versioned_kernel(kernel: Kernel) -> str:
    """The package that the kernel's metapackage depends on today."""
    metapackage = _KERNEL_METAPACKAGES[kernel]
    for name in re.findall(
        r"Depends:\s*(\S+)", _apt(["apt-cache", "depends", "--important", metapackage])
    ):
        if _KERNEL_PACKAGES[kernel].fullmatch(name):
            return str(name)
    raise _no_lists(metapackage)


def _download(names: Sequence[str], cache_dir: Path) -> dict[str, str]:
    """Download into a folder of its own, so that an interrupted download leaves no half .deb."""
    with TemporaryDirectory(dir=cache_dir, prefix="download-") as folder:
        # apt would drop to a user that may not write here, and says so at length.
        options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        _apt(["apt-get", *options, "-q", "download", *names], cwd=Path(folder))
        found: dict[str, str] = {}
        for deb in Path(folder).glob("*.deb"):
            name = deb.name.partition("_")[0]
            deb.rename(cache_dir / deb.name)
            found[name] = deb.name
    lacking = [name for name in names if name not in found]
    if lacking:
        raise PackagesUnavailable(f"apt-get downloaded no {', '.join(lacking)}")
    return found


def _unpack(deb: Path, cache_dir: Path) -> Path:
    tree = cache_dir / "trees" / deb.name.removesuffix(".deb")
    if tree.is_dir():
        return tree
    tree.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=tree.parent, prefix="unpack-") as folder:
        fresh = Path(folder) / "tree"
        _apt(["dpkg-deb", "-x", str(deb), str(fresh)])
        # Since Debian 13 packages have all of these below usr.
        for name in ("bin", "lib", "sbin"):
            if (fresh / "usr" / name).is_dir() and not (fresh / name).exists():
                (fresh / name).symlink_to(f"usr/{name}")
        fresh.rename(tree)
    return tree


def _apt(command: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run one of apt's programs and return what it printed."""
    try:
        done = subprocess.run(
            list(command),
            cwd=cwd,
            env=downloader_environment(LC_ALL="C", DEBIAN_FRONTEND="noninteractive"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise PackagesUnavailable(
            f"{command[0]} is not on this machine; the lab's guest is made of packages of"
            " Debian 12 (amd64) or newer and can only be built there"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise PackagesUnavailable(
            f"{command[0]} did not end within {_DOWNLOAD_TIMEOUT_S} s; is the network up?"
        ) from error
    if done.returncode == 0:
        return done.stdout
    unknown = re.search(r"Unable to locate package (\S+)|No packages found", done.stderr)
    if unknown:
        raise _no_lists(unknown.group(1) or command[-1])
    reason = "; ".join(
        line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith("E:")
    )
    raise PackagesUnavailable(
        f"{' '.join(command[:1])} failed: {reason or done.stderr.strip()[-300:]}."
        " If the package lists are old, run `apt-get update` as root and try again"
    )


def _no_lists(package: str) -> PackagesUnavailable:
    return PackagesUnavailable(
        f"apt knows no package {package}: run `apt-get update` as root and try again."
        " If that does not help, this system is not Debian for amd64 and cannot build the guest"
    )
