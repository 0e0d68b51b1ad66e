"""No program that vmops starts gets its environment, where passwords are."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import vmops
from vmops import child_environment
from vmops.errors import ImageNotAcceptable
from vmops.images import qemu_img

SOURCE = Path(vmops.__file__).parent
STARTS = {
    *("run", "Popen", "call", "check_call", "check_output", "create_subprocess_exec"),
    *("create_subprocess_shell", "subprocess_exec", "subprocess_shell", "system", "popen"),
    *("posix_spawn", "posix_spawnp", "execv", "execve", "execvp", "execvpe", "execl", "spawnv"),
}
MODULES = {"subprocess", "os", "asyncio", "loop"}
MADE_BY = {"tool_environment", "downloader_environment", "python_environment"}
# file -> why its children's environment is made otherwise
OTHERWISE = {
    "lab/qemu/process.py": "QEMU gets a search path and nothing else",
    "lab/qemu/segment.py": "it is such a child itself, and hands on what it was given",
}
CANARY = "canary-7f3a"


def starts() -> Iterator[tuple[str, int, ast.Call]]:
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in STARTS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in MODULES
                and (node.func.value.id, node.func.attr) != ("asyncio", "run")
            ):
                yield file.relative_to(SOURCE).as_posix(), node.lineno, node


def test_every_start_says_what_its_child_gets() -> None:
    found = list(starts())
    assert len(found) >= 8
    wrong = []
    for file, line, call in found:
        given = next((word.value for word in call.keywords if word.arg == "env"), None)
        made = isinstance(given, ast.Call) and getattr(given.func, "id", "") in MADE_BY
        if not made and file not in OTHERWISE:
            wrong.append(f"{file}:{line}")
    assert wrong == []


@pytest.mark.parametrize("make", sorted(MADE_BY))
def test_what_may_be_secret_is_not_passed_on(make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        *("VMOPS_PASSWORD", "GOVC_PASSWORD", "GOVC_URL", "VMOPS_URL", "OS_PASSWORD", "MY_TOKEN"),
        *("AWS_SECRET_ACCESS_KEY", "VMOPS_PASSWORD_FILE", "LD_PRELOAD", "IFS"),
    )
    for name in names:
        monkeypatch.setenv(name, CANARY)
    passed = getattr(child_environment, make)(MORE="1")
    assert CANARY not in passed.values()
    assert passed["MORE"] == "1"
    assert passed["PATH"] == os.environ["PATH"]


def test_a_converter_sees_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin/qemu-img"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nenv > "{tmp_path}/seen"\nexit 1\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    monkeypatch.setenv("VMOPS_PASSWORD", CANARY)
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(1024))
    with pytest.raises(ImageNotAcceptable):
        qemu_img.convert(image, "raw", tmp_path / "a.vmdk")
    seen = (tmp_path / "seen").read_text()
    assert CANARY not in seen
    assert "PATH=" in seen
