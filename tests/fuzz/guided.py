"""One target, guided by the coverage that atheris sees: ``python -m tests.fuzz.guided TARGET``."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vmops.images", "oslo_utils.imageutils"]):
    from tests.fuzz.targets import take_or_refuse

FINDINGS = Path(__file__).parent / "findings"
MAX_BYTES = 1 << 20


def main() -> None:
    target, seconds, corpus = sys.argv[1:4]
    found = FINDINGS / target
    found.mkdir(parents=True, exist_ok=True)
    arguments = [sys.argv[0], f"-max_total_time={seconds}", f"-artifact_prefix={found}/"]
    arguments += [f"-max_len={MAX_BYTES}", "-timeout=5", "-rss_limit_mb=1024", "-verbosity=0"]
    atheris.Setup([*arguments, corpus], lambda content: take_or_refuse(target, content) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
