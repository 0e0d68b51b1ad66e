#!/usr/bin/env python3
"""Tries the committed state on a machine that has nothing: ``make demo`` and ``make test``.

The machine is a folder of `.build`: a minimal Debian made by debootstrap, with Python, pip, make
and git, and with this machine's settings for apt and pip. It is made once for each Debian; each
run takes a copy. What runs inside has mounts and processes of its own, which end with the run.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".build/fresh"
PACKAGES = "ca-certificates,git,make,python3,python3-pip"
CLONE = Path("/srv/vmops")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CARRIED = re.compile(
    r"(PIP_|SSL_CERT_)\w+|REQUESTS_CA_BUNDLE|(https?|no)_proxy|JOBS", re.IGNORECASE
)
"""The variables of this machine that hold inside, too."""
SETTINGS = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/pip.conf",
    "/etc/ssl/certs/ca-certificates.crt",
    "/usr/local/share/ca-certificates",
    "/etc/apt/trusted.gpg.d",
    "~/.config/pip/pip.conf",
    "~/.pip/pip.conf",
)
INSIDE = """\
mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount -t sysfs sysfs "$0/sys"
exec chroot "$0" "$@"
"""


def main() -> None:
    """Do what the command line says, and end with what the first target that failed ended with."""
    parser = argparse.ArgumentParser(description="Try make targets on a fresh machine.")
    parser.add_argument("--suite", default="bookworm", help="which Debian, by its code name")
    parser.add_argument("--python", help="an interpreter of this machine to be tried instead")
    parser.add_argument("targets", nargs="*", default=["demo", "test"])
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("fresh: only root can make a machine in a folder: sudo make fresh")
    if not shutil.which("debootstrap"):
        sys.exit("fresh: debootstrap is missing: apt-get install debootstrap")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode:
        sys.exit("fresh: this machine allows no mounts and processes of a folder's own")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{options.suite}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"fresh: another run uses the machine of {options.suite}")
        sys.exit(tried(options.suite, options.python, options.targets))


def tried(suite: str, python: str | None, targets: list[str]) -> int:
    """Make the machine, run the targets on it, and return the exit code of the first that fails."""
    took: dict[str, float] = {}
    with timed("the machine", took):
        base = make_base(suite)
    machine = FOLDER / suite
    with timed("its copy", took):
        shutil.rmtree(machine, ignore_errors=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", base, machine], check=True)
        carry_settings(machine, suite)
        if python:
            shutil.copytree(home(python), inside(machine, home(python)), symlinks=True)
        clone(machine)
    code = 0
    for target in targets:
        if code == 0:
            with timed(f"make {target}", took):
                code = run(machine, target, python)
    for name, seconds in took.items():
        say(f"{name}: {seconds:.0f} s")
    say("passed" if code == 0 else f"failed; what is left lies in {machine}")
    return code


def make_base(suite: str) -> Path:
    """Return the folder of a Debian that nothing was done to yet, made by the first run."""
    base = FOLDER / f"{suite}-base"
    if base.exists():
        return base
    unfinished = FOLDER / f"{suite}-unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    mirrors = [address for address, name in package_sources(suite) if name == suite]
    # It mounts, too.
    command = [
        "unshare",
        "--mount",
        "debootstrap",
        "--variant=minbase",
        f"--include={PACKAGES}",
        suite,
        str(unfinished),
    ]
    # debootstrap fetches by itself, and does not ask apt for its proxy.
    settings = dict(re.findall(r'(\S+) "(.*)";', apt_settings()))
    proxy = settings.get("Acquire::http::Proxy")
    environment = os.environ | ({"http_proxy": proxy} if proxy else {})
    subprocess.run([*command, *mirrors[:1]], env=environment, stdout=sys.stderr, check=True)
    unfinished.rename(base)
    return base


def package_sources(suite: str) -> list[tuple[str, str]]:
    """Where this machine has Debian's packages from, as address and name, for another Debian."""
    form = "$(ORIGIN) $(CODENAME) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [line.split() for line in told.splitlines() if line.startswith("Debian ")]
    return [(address, "-".join([suite, *name.split("-")[1:]])) for _, name, address in rows]


def apt_settings() -> str:
    """How this machine's apt fetches, in apt's own form."""
    told = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True)
    return "".join(f"{line}\n" for line in told.stdout.splitlines() if "Acquire::" in line)


def carry_settings(machine: Path, suite: str) -> None:
    """Let apt and pip inside fetch as they do on this machine."""
    sources = package_sources(suite)
    if sources:
        lines = "".join(f"deb {address} {name} main\n" for address, name in sources)
        (machine / "etc/apt/sources.list").write_text(lines)
    (machine / "etc/apt/apt.conf.d/90this-machine").write_text(apt_settings())
    values = [value for name, value in os.environ.items() if CARRIED.fullmatch(name)]
    paths = {Path(each).expanduser() for each in (*SETTINGS, *values) if each[:1] in {"/", "~"}}
    for path in paths - {Path("/etc/ssl/certs")}:
        target = inside(machine, path)
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(path, target)


def clone(machine: Path) -> None:
    """Put a clone of what is committed there, as the README says."""
    git = ["git", "-c", f"safe.directory={PROJECT}"]
    there = str(inside(machine, CLONE))
    subprocess.run([*git, "clone", "--quiet", "--no-hardlinks", str(PROJECT), there], check=True)
    status = [*git, "status", "--porcelain"]
    if subprocess.run(status, cwd=PROJECT, stdout=subprocess.PIPE, check=True).stdout:
        say("what is not committed is not tried")


def inside(machine: Path, path: Path) -> Path:
    """Where a path of the machine lies for us."""
    return machine / path.relative_to("/")


def home(python: str) -> Path:
    """The folder that an interpreter of this machine is installed in."""
    command = [python, "-c", "import sys; print(sys.base_prefix)"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Path(told.strip())


def run(machine: Path, target: str, python: str | None) -> int:
    """Run a make target inside and return its exit code."""
    variables = {name: value for name, value in os.environ.items() if CARRIED.fullmatch(name)}
    variables |= {"HOME": "/root", "LANG": "C.UTF-8", "PATH": PATH}
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    command += ["sh", "-e", "-c", INSIDE, str(machine), "make", "-C", str(CLONE), target]
    command += [f"PYTHON={home(python)}/bin/python3"] if python else []
    return subprocess.run(command, env=variables, check=False).returncode


@contextmanager
def timed(action: str, took: dict[str, float]) -> Iterator[None]:
    """Say what begins, and note how long it took."""
    say(f"{action} ...")
    begin = time.monotonic()
    yield
    took[action] = time.monotonic() - begin


def say(line: str) -> None:
    """Print to stderr."""
    print(f"fresh: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
