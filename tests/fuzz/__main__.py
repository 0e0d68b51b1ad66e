"""Looks for images that a reader does not take or refuse: ``python -m tests.fuzz --seconds 60``.

With atheris the readers' own code says which changes lead somewhere new; each target is a process,
as a coverage-guided run does not return. Without it the changes are those of `hostile.mutated`.
What is found goes to ``tests/fuzz/findings``, which the tests walk.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.hostile import mutated, seeds
from tests.fuzz.targets import TARGETS, take_or_refuse

FINDINGS = Path(__file__).parent / "findings"
SMALL = ("descriptor", "parts", "manifest", "ovf")
SEEDS = {
    **{name: (name,) for name in SMALL},
    "tar": ("tar",),
    "vmdk": ("vmdk",),
    "unpack": ("gzip", "xz"),
}
LONGEST_S = 5.0


def seeds_for(target: str) -> list[bytes]:
    """The images that its changes begin with; a target that takes all has all."""
    kinds = SEEDS.get(target, tuple(kind for kind in seeds() if kind not in SMALL))
    return [seeds()[kind] for kind in kinds]


def keep(target: str, content: bytes, failure: BaseException) -> None:
    folder = FINDINGS / target
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.bin"
    file.write_bytes(content)
    print(f"{target}: {type(failure).__name__}: {failure}: {file}", file=sys.stderr)


def tried(target: str, content: bytes) -> None:
    begin = time.monotonic()
    take_or_refuse(target, content)
    took_s = time.monotonic() - begin
    assert took_s < LONGEST_S, f"it took {took_s:.1f} seconds"


def by_chance(target: str, seconds: float) -> tuple[int, int]:
    """Change seeds at random until the time is over; how many were tried, and found."""
    rng, begins, count, found = random.Random(), seeds_for(target), 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        content = mutated(rng, rng.choice(begins))
        count += 1
        try:
            tried(target, content)
        except Exception as failure:
            found += 1
            keep(target, content, failure)
    return count, found


def guided(target: str, seconds: float) -> int:
    """The same by atheris, in a process of its own; its exit code."""
    with tempfile.TemporaryDirectory(prefix="vmops-fuzz-") as name:
        corpus = Path(name)
        for number, seed in enumerate(seeds_for(target)):
            (corpus / str(number)).write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz.guided", target, str(int(seconds)), name]
        return subprocess.run(command, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Look for images that readers fail on.")
    parser.add_argument("--seconds", type=float, default=60.0, help="For all targets together.")
    parser.add_argument("--only", choices=TARGETS, action="append", help="These targets alone.")
    options = parser.parse_args()
    targets = options.only or list(TARGETS)
    has_atheris = importlib.util.find_spec("atheris") is not None
    share = options.seconds / len(targets) / (2 if has_atheris else 1)
    failed = False
    for target in targets:
        count, found = by_chance(target, share)
        print(f"{target}: {count} changed at random, {found} found", flush=True)
        failed = failed or found > 0
        if has_atheris:
            code = guided(target, share)
            print(f"{target}: guided by coverage, exit code {code}", flush=True)
            failed = failed or code != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
