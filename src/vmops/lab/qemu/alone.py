"""Runs a program of this folder by itself: without its package, which imports much.

``python -I -S alone.py segment ...``
"""

from __future__ import annotations

import runpy
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Stand for the packages around, and run the program that is named first."""
    for name, folder in (
        ("vmops", HERE.parents[1]),
        ("vmops.lab", HERE.parent),
        ("vmops.lab.qemu", HERE),
    ):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    program = sys.argv.pop(1)
    runpy.run_module(f"vmops.lab.qemu.{program}", run_name="__main__")


if __name__ == "__main__":
    main()
