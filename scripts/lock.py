#!/usr/bin/env python3
"""Locks what the project's environments hold, and asks whether any of it is known to be unsafe.

``lock.py write`` makes the files of `requirements` anew from the ranges of `pyproject.toml`, for
every Python from 3.11 on, with a hash of each file. ``lock.py audit`` hands them to pip-audit; its
exit code is 1 if something is known to be unsafe, and 3 if that cannot be found out from here.
Both tools go into an environment of their own below `.build`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LOCKS = PROJECT / "requirements"
TOOLS = PROJECT / ".build/lock-tools"
EXTRAS = {"demo": "lab", "test": "dev"}
BUILD = ("hatchling>=1.26", "editables")
"""What an editable installation is built with: the back end, and what it asks for itself."""
NOT_KNOWN = 3


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Lock or audit the dependencies.")
    parser.add_argument("what", choices=("write", "audit"))
    sys.exit({"write": write, "audit": audit}[parser.parse_args().what]())


def write() -> int:
    """Write a file of locked requirements for each purpose."""
    LOCKS.mkdir(exist_ok=True)
    uv = tool("uv")
    for purpose, extra in EXTRAS.items():
        command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-annotate", "--upgrade"]
        command += ["--custom-compile-command", "make lock", "--extra", extra]
        command += ["--output-file", str(LOCKS / f"{purpose}.lock"), "pyproject.toml", "-"]
        subprocess.run(command, cwd=PROJECT, input="\n".join(BUILD), text=True, check=True)
    return 0


def audit() -> int:
    """Ask for each locked package what is known of it."""
    command = [tool("pip-audit"), "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    command += ["--format", "json", "--requirement", str(LOCKS / "test.lock")]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError):
        packages = []
    asked = [each for each in packages if "skip_reason" not in each]
    for each in asked:
        for known in each["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version"
            print(f"{each['name']} {each['version']}: {known['id']}, mended in {fixed}")
    print(f"audit: {len(asked)} of {len(packages)} locked packages were looked up")
    if any(each["vulns"] for each in asked):
        return 1
    if not asked or len(asked) < len(packages):
        print("audit: what is known of the others cannot be reached from here")
        return NOT_KNOWN
    return 0


def tool(name: str) -> str:
    """Return a program of the tools' environment, installed there if it is not."""
    program = TOOLS / "bin" / name
    if not program.exists():
        if not (TOOLS / "bin/python").exists():
            venv.create(TOOLS, with_pip=True)
        pip = [str(TOOLS / "bin/python"), "-m", "pip", "install", "--quiet"]
        cache = {"PIP_CACHE_DIR": str(PROJECT / ".build/pip-cache")}
        subprocess.run([*pip, name], env=os.environ | cache, check=True)
    return str(program)


if __name__ == "__main__":
    main()
