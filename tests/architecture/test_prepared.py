"""What the code looks for on a machine is what ``scripts/prepare.py`` and ``vmops doctor`` name."""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path

from tests.architecture.programs import Module
from tests.architecture.source import PROJECT
from vmops.cli.verbs.doctor import PROGRAMS

FOLDERS = ("src", "tests", "benchmarks", "scripts")
EVERY_DEBIAN = {
    "apt-cache": "apt is what everything else comes by",
    "apt-config": "apt is what everything else comes by",
    "apt-get": "apt is what everything else comes by",
    "bash": "essential",
    "cp": "essential",
    "dpkg-deb": "essential",
    "dpkg-query": "essential",
    "make": "who runs the benchmarks runs make",
    "mkdir": "essential",
    "prlimit": "essential",
    "setpriv": "essential",
    "setsid": "essential",
    "sh": "essential",
    "sleep": "essential",
    "true": "essential",
    "unshare": "essential",
}
WITH_THE_GUEST = {
    "debugfs": "fetched where it is missing",
    "mcopy": "fetched where it is missing",
    "mformat": "fetched where it is missing",
    "mke2fs": "fetched where it is missing",
    "syslinux": "fetched with the guest's packages, and run from there",
}
NOT_READABLE = {
    "benchmarks/figures/start.py: command": "a command of vmops",
    "benchmarks/workers.py: python or sys.executable": "Python",
    "scripts/fresh.py: command": "an interpreter that is named",
    "scripts/lock.py: *pip": "Python",
    "scripts/lock.py: command": "uv and pip-audit, of an environment of their own",
    "scripts/prepare.py: command": "apt-get and pip",
    "scripts/prepare.py: each": "what it prepares",
    "src/vmops/cli/verbs/doctor.py: program": "those of its table",
    "src/vmops/images/confinement.py: *_limiting(limiter, limits)": "what its caller names",
    "src/vmops/images/confinement.py: *prefix": "true, by its own table",
    "src/vmops/lab/guest/packages.py: program": "those of WITH_THE_GUEST",
    "src/vmops/lab/guest/rootfs.py: str(busybox)": "the guest's own",
    "src/vmops/lab/qemu/capabilities.py: *argv": "QEMU",
    "src/vmops/lab/qemu/missing.py: program": "those of its table",
    "src/vmops/lab/qemu/process.py: argv[0]": "QEMU",
    "src/vmops/lab/qemu/segment.py: argv": "Python",
    "tests/architecture/test_layers.py: program": "of the virtual environment",
    "tests/backends/vcsim.py: build()": "built here",
    "tests/cli/conftest.py: *program": "vmops",
    "tests/faults/living.py: command": "Python, in namespaces that unshare makes",
}
"""Where the text does not tell what is started, and what it is."""
QEMU = "qemu-system-x86_64"
"""Found by `vmops.lab.qemu.missing`, which has a table."""
OTHER_PATHS = {
    "/usr/share/OVMF/OVMF_CODE.fd": "of older Debian",
    "/usr/share/OVMF/OVMF_VARS.fd": "of older Debian",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd": "Fedora's",
    "/usr/share/edk2/ovmf/OVMF_VARS.fd": "Fedora's",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd": "Arch's",
    "/usr/share/edk2/x64/OVMF_VARS.4m.fd": "Arch's",
}


@cache
def modules() -> list[Module]:
    files = [file for folder in FOLDERS for file in sorted((PROJECT / folder).rglob("*.py"))]
    return [Module(file, file.relative_to(PROJECT).as_posix()) for file in files]


def programs(folder: str = "") -> set[str]:
    starts = [each for one in modules() if one.name.startswith(folder) for each in one.starts()]
    return {Path(program).name for start in starts for program in start.programs or ()}


def prepared() -> set[str]:
    purposes = runpy.run_path(str(PROJECT / "scripts/prepare.py"))["PURPOSES"].values()
    return {each for one in purposes for package in one.packages for each in package.provides}


def paths() -> set[str]:
    """What stands in the code as a path of the system."""
    passed_over = {"scripts/prepare.py", "tests/architecture/test_prepared.py"}
    texts = {text for one in modules() if one.name not in passed_over for text in one.texts}
    return {each for each in texts if each.startswith(("/usr/share/", "/usr/lib/"))}


def test_every_program_is_prepared() -> None:
    assert programs() - prepared() == EVERY_DEBIAN.keys() | (WITH_THE_GUEST.keys() - prepared())


def test_every_path_is_prepared() -> None:
    lacking = {each for each in paths() if not any(one.startswith(each) for one in prepared())}
    assert lacking == OTHER_PATHS.keys()


def test_nothing_is_prepared_that_nobody_uses() -> None:
    used = programs() | paths() | {QEMU}
    assert {each for each in prepared() if not any(each.startswith(one) for one in used)} == set()


def test_where_the_text_does_not_tell_which_program_is_said_here() -> None:
    starts = [each for one in modules() for each in one.starts()]
    assert {each.place for each in starts if each.programs is None} == NOT_READABLE.keys()


def test_the_doctor_names_every_program_of_the_command_and_the_lab() -> None:
    essential = {name for name, reason in EVERY_DEBIAN.items() if reason == "essential"}
    used = programs("src/") | {QEMU}
    assert used - essential - WITH_THE_GUEST.keys() == PROGRAMS.keys() - essential
