"""Names complete in a shell, from what was seen last at the endpoint in use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DRIVER = """
eval "$(vmops completion bash)"
COMP_WORDS=({words})
COMP_CWORD={at}
_vmops_completion vmops
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def complete(tmp_path: Path) -> Callable[..., list[str]]:
    """What bash offers for the last word of a command line."""
    if not shutil.which("bash"):
        pytest.skip("bash is not on this machine")
    program = tmp_path / "vmops"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vmops.cli.main "$@"\n')
    program.chmod(0o755)
    names = {"lab": ["db1", "web1", "web2"], "https://vc/sdk": ["prod1"]}
    (tmp_path / "instance-names.json").write_text(json.dumps(names))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "tiny.yaml").touch()

    def run(*words: str, **env: str) -> list[str]:
        quoted = " ".join(f'"{word}"' for word in ("vmops", *words))
        shell = ["bash", "--norc", "-c", DRIVER.format(words=quoted, at=len(words))]
        path = f"{tmp_path}:/usr/bin:/bin"
        own = {"VMOPS_STATE_DIR": str(tmp_path), "PATH": path, **env}
        return subprocess.run(
            shell, env=own, capture_output=True, text=True, check=True
        ).stdout.split()

    return run


def test_commands(complete: Callable[..., list[str]]) -> None:
    assert complete("sc") == ["screenshot"]
    assert complete("image", "b") == ["build"]


def test_instances(complete: Callable[..., list[str]]) -> None:
    assert complete("show", "w") == ["web1", "web2"]
    assert complete("destroy", "db1", "") == ["db1", "web1", "web2"]


def test_instances_of_the_endpoint_in_use(complete: Callable[..., list[str]]) -> None:
    assert complete("show", "", VMOPS_URL="https://vc") == ["prod1"]
    assert complete("show", "", VMOPS_URL="nonsense://") == []


def test_images(complete: Callable[..., list[str]]) -> None:
    assert complete("spawn", "new", "--image", "t") == ["tiny"]


def test_options(complete: Callable[..., list[str]]) -> None:
    assert complete("spawn", "new", "--no-p") == ["--no-power-on"]


def test_a_name_is_one_word_that_a_shell_runs_nothing_of(
    complete: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Typed by completion and entered, it is the name again; what cannot be typed is left out."""
    names = ["$(touch${IFS}made)", "`id`", "*", "a;b", "~root", "it's", 'q"q', "-rf", "bell\a"]
    for name in names:
        (tmp_path / "images" / f"{name}.yaml").touch()
    words = complete("image", "remove", "")
    shell = ["bash", "--norc", "-c", "printf '%s\\n' " + " ".join(words)]
    typed = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert sorted(typed.splitlines()) == sorted([*names[:-2], "tiny"])
    assert not (tmp_path / "made").exists()
