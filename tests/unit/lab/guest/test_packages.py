from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from vmops.lab.guest import PackageContentsChanged, PackagesUnavailable
from vmops.lab.guest.builder import content_key
from vmops.lab.guest.packages import Packages, fetch_packages

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = {
    "linux-image-6.1.0-1-cloud-amd64": "linux-image-6.1.0-1-cloud-amd64_1_amd64.deb",
    "busybox-static": "busybox-static_1_amd64.deb",
    "syslinux": "syslinux_1_amd64.deb",
    "syslinux-common": "syslinux-common_1_all.deb",
    "mtools": "mtools_1_amd64.deb",
    "e2fsprogs": "e2fsprogs_1_amd64.deb",
    "libext2fs2": "libext2fs2_1_amd64.deb",
    "libcom-err2": "libcom-err2_1_amd64.deb",
    "libss2": "libss2_1_amd64.deb",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder programs are found in; empty."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def fill_cache(cache: Path) -> None:
    cache.mkdir()
    for deb in VERSIONS.values():
        (cache / deb).touch()
        (cache / "trees" / deb.removesuffix(".deb")).mkdir(parents=True)
    (cache / "packages.json").write_text(json.dumps(VERSIONS))


def test_a_full_cache_needs_no_apt(tmp_path: Path, programs: Path) -> None:
    fill_cache(tmp_path / "cache")
    packages = fetch_packages(tmp_path / "cache")
    assert not list(programs.iterdir())
    assert packages.kernel_release == "6.1.0-1-cloud-amd64"
    assert packages.trees["syslinux"] == tmp_path / "cache/trees/syslinux_1_amd64"


@pytest.mark.usefixtures("programs")
def test_a_machine_without_apt_is_told_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(PackagesUnavailable, match=r"apt-cache is not on this machine.*Debian 12"):
        fetch_packages(tmp_path / "cache")


def test_missing_package_lists_are_named_with_their_remedy(tmp_path: Path, programs: Path) -> None:
    program(programs, "apt-cache", "echo 'E: No packages found' >&2; exit 100")
    with pytest.raises(PackagesUnavailable, match=r"knows no package .*run `apt-get update`"):
        fetch_packages(tmp_path / "cache")


def test_a_failed_download_gives_its_reason_and_leaves_nothing(
    tmp_path: Path, programs: Path
) -> None:
    program(programs, "apt-cache", "echo '  Depends: linux-image-6.1.0-1-cloud-amd64'")
    program(programs, "apt-get", "echo half > busybox.deb; echo 'E: no route' >&2; exit 100")
    with pytest.raises(PackagesUnavailable, match="apt-get failed: no route"):
        fetch_packages(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_package_lost_from_the_cache_is_fetched_alone(tmp_path: Path, programs: Path) -> None:
    fill_cache(tmp_path / "cache")
    (tmp_path / "cache" / VERSIONS["busybox-static"]).unlink()
    program(programs, "apt-get", f'echo "$@" > {tmp_path}/asked; : > busybox-static_2_amd64.deb')
    program(programs, "dpkg-deb", f'{shutil.which("mkdir", path="/bin:/usr/bin")} "$3"')
    packages = fetch_packages(tmp_path / "cache")
    assert (tmp_path / "asked").read_text().endswith("download busybox-static\n")
    assert packages.versions["busybox-static"] == "busybox-static_2_amd64.deb"
    assert fetch_packages(tmp_path / "cache") == packages


def test_a_package_that_has_all_below_usr_is_read_as_one_that_has_not(
    tmp_path: Path, programs: Path
) -> None:
    fill_cache(tmp_path / "cache")
    (tmp_path / "cache" / VERSIONS["busybox-static"]).unlink()
    program(programs, "apt-get", ": > busybox-static_2_amd64.deb")
    mkdir = shutil.which("mkdir", path="/bin:/usr/bin")
    program(programs, "dpkg-deb", f'{mkdir} -p "$3/usr/bin"; : > "$3/usr/bin/busybox"')
    packages = fetch_packages(tmp_path / "cache")
    assert packages.file("busybox-static", "bin/busybox").is_file()


def test_a_package_without_the_file_is_named(tmp_path: Path) -> None:
    packages = Packages(trees={"syslinux": tmp_path}, versions={"syslinux": "syslinux_9.deb"})
    with pytest.raises(PackageContentsChanged, match=r"syslinux_9\.deb holds no usr/bin/syslinux"):
        packages.file("syslinux", "usr/bin/syslinux")


def test_another_version_of_a_package_makes_another_image(tmp_path: Path) -> None:
    trees = dict.fromkeys(VERSIONS, tmp_path)
    old = Packages(trees=trees, versions=VERSIONS)
    new = Packages(trees=trees, versions={**VERSIONS, "syslinux": "syslinux_2_amd64.deb"})
    assert content_key(old) == content_key(old)
    assert content_key(old) != content_key(new)
