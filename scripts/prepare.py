#!/usr/bin/env python3
"""Prepares this folder and this machine for a make target.

System packages come from apt when this runs as root; otherwise it says which ones to install and
goes on with what works without them.
Python packages go into a virtual environment in this folder, pip's cache and its log into `.build`:
nothing is written outside.
What is in place already is not touched, so that a second run takes no time.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...")

import tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT / ".build"
LOG = BUILD / "prepare.log"


@dataclass(frozen=True, slots=True)
class SystemPackage:
    """A Debian package, the programs and absolute paths used of it, and what lacks without it."""

    name: str
    provides: tuple[str, ...]
    without: str

    def is_present(self) -> bool:
        """Look for what the package provides, wherever it came from."""
        # mke2fs and its like are not on the PATH of ordinary users.
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        return all(
            Path(each).exists() if each.startswith("/") else shutil.which(each, path=path)
            for each in self.provides
        )


@dataclass(frozen=True, slots=True)
class Purpose:
    """What one make target needs: without a ``venv`` no Python packages."""

    extras: str
    venv: str
    packages: tuple[SystemPackage, ...]
    lock: str = ""
    """The file that has every Python package with its hashes; without one, what fits is taken."""


GUESTS = (
    SystemPackage("qemu-system-x86", ("qemu-system-x86_64",), "no guest boots"),
    SystemPackage("qemu-utils", ("qemu-img", "qemu-io"), "disk images are not converted"),
    SystemPackage("zstd", ("zstd",), "images compressed with zstd are not taken"),
    SystemPackage(
        "ovmf",
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        "no guest boots by EFI",
    ),
    SystemPackage(
        "e2fsprogs", ("mke2fs", "debugfs", "e2fsck"), "the guest's file systems are not looked into"
    ),
)
SECOND_VIEWS = (
    SystemPackage("git", ("git",), "which files belong to the project is not known"),
    SystemPackage(
        "mtools",
        ("mcopy", "mformat", "mmd", "mren", "mtype"),
        "the tests of guests that boot by EFI are skipped",
    ),
    SystemPackage("tesseract-ocr", ("tesseract",), "the tests that read screens are skipped"),
    SystemPackage("zsh", ("zsh",), "the tests of its completion are skipped"),
    SystemPackage("fish", ("fish",), "the tests of its completion are skipped"),
)
SIMULATOR = (
    SystemPackage("golang-go", ("go",), "the tests against vcsim are skipped"),
    SystemPackage(
        "golang-github-vmware-govmomi-dev",
        ("/usr/share/gocode/src/github.com/vmware/govmomi/simulator",),
        "the tests against vcsim are skipped",
    ),
)
PURPOSES = {
    "demo": Purpose("lab", ".venv", GUESTS, "requirements/demo.lock"),
    "test": Purpose("dev", ".venv", GUESTS + SECOND_VIEWS + SIMULATOR, "requirements/test.lock"),
    # Nova pins much that the project does not, so it gets an environment of its own.
    "bench": Purpose(
        "bench,dev",
        ".venv-bench",
        (*GUESTS, SystemPackage("curl", ("curl",), "there is nothing to compare uploads with")),
    ),
    # atheris is built for few versions of Python; the tests do not need it.
    "fuzz": Purpose("dev,fuzz", ".venv-fuzz", GUESTS),
    "fresh": Purpose(
        "",
        "",
        (SystemPackage("debootstrap", ("debootstrap",), "no machine can be made in a folder"),),
    ),
}


def main() -> None:
    """Prepare for the purpose named on the command line."""
    parser = argparse.ArgumentParser(description="Prepare this folder for a make target.")
    parser.add_argument("purpose", choices=PURPOSES)
    purpose = PURPOSES[parser.parse_args().purpose]
    with locked():
        install_system_packages([p for p in purpose.packages if not p.is_present()])
        fetch_package_lists()
        if purpose.venv:
            install_python_packages(purpose)


@contextmanager
def locked() -> Iterator[None]:
    """Let one preparation of this folder run at a time."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install_system_packages(packages: list[SystemPackage]) -> None:
    """Install with apt, or say what to install and what will not work until then."""
    if not packages:
        return
    names = " ".join(package.name for package in packages)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        apt = ["apt-get", "-y", "-o", "DPkg::Lock::Timeout=300"]
        install = [*apt, "install", "--no-install-recommends", *names.split()]
        with timed(f"installing {names}"):
            # Package lists that are missing or out of date make the first attempt fail at once.
            installed = run(install) or (run([*apt, "update"]) and run(install))
        if installed:
            return
        say(f"apt-get could not install them; {LOG.relative_to(PROJECT)} says why")
    say(f"missing on this machine: {names}")
    for package in packages:
        say(f"  without {package.name}: {package.without}")
    say(f"to install: sudo apt-get install --no-install-recommends {names}")


def fetch_package_lists() -> None:
    """Let apt know what it could fetch: the guest is built from packages that are not installed."""
    known = any(Path("/var/lib/apt/lists").glob("*_Packages*"))
    if known or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    with timed("fetching apt's package lists"):
        if not run(["apt-get", "update"]):
            say("without them no guest image can be built")


def install_python_packages(purpose: Purpose) -> None:
    """Fill the virtual environment, unless a stamp says that it holds what is asked for."""
    venv = PROJECT / purpose.venv
    stamp = venv / f"prepared-{purpose.extras}"
    wanted = fingerprint()
    # The developers' environment holds what the demo needs.
    for holder in {stamp, venv / "prepared-dev"}:
        if holder.is_file() and holder.read_text() == wanted:
            return
    python = venv / "bin/python"
    package = f"{PROJECT}[{purpose.extras}]"
    installs = [["--editable", package]]
    if purpose.lock:
        locked = ["--require-hashes", "--requirement", str(PROJECT / purpose.lock)]
        installs = [locked, ["--no-deps", "--no-build-isolation", "--editable", package]]
    with timed(f"installing Python packages into {purpose.venv}"):
        pip = [*make_venv(venv, python), "install", "--no-input", "--disable-pip-version-check"]
        if not all(run([*pip, *each]) for each in installs):
            sys.exit(f"pip failed:\n{tail(LOG)}")
    stamp.write_text(wanted)


def make_venv(venv: Path, python: Path) -> list[str]:
    """Create the environment if there is none that runs; return the pip that installs into it.

    Debian's Python has no ensurepip without python3-venv: then the pip of the running Python
    installs into the environment from outside.
    """
    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    if not (python.exists() and run([str(python), "-c", "pass"])):
        options = [] if has_ensurepip else ["--without-pip"]
        if not run([sys.executable, "-m", "venv", "--clear", *options, str(venv)]):
            sys.exit(f"no virtual environment could be made:\n{tail(LOG)}")
    if run([str(python), "-m", "pip", "--version"]):
        return [str(python), "-m", "pip"]
    if run([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip", "--python", str(python)]
    sys.exit("pip is missing: sudo apt-get install python3-pip")


def fingerprint() -> str:
    """Return what the content of an environment depends on."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    locks = [file.read_text() for file in sorted((PROJECT / "requirements").glob("*.lock"))]
    parts = [project["build-system"], project["project"], locks, sys.version, str(PROJECT)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def run(command: list[str]) -> bool:
    """Run a command with its output in the log; return whether it succeeded."""
    environment = os.environ | {
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_CACHE_DIR": str(BUILD / "pip-cache"),
    }
    with LOG.open("ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        done = subprocess.run(
            command,
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode == 0


def tail(log: Path) -> str:
    """Return the last lines of the log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


@contextmanager
def timed(action: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    say(f"{action} ...")
    begin = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - begin:.0f} s")


def say(line: str) -> None:
    """Print to stderr: stdout belongs to what is being prepared for."""
    print(f"prepare: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
