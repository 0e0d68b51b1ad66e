"""Tab and Enter in real shells, with names that mean something to a shell: each is typed whole."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

NAMES = (
    *("plain", "two words", "$(touch made)", "`touch made`", "a;touch made", "a&touch made"),
    *("a|touch made", "a>made", "it's", 'q"q', "back\\slash", "*", "?", "[a]", "{a,b}", "~root"),
    *("#no", "!!", "!x", "$HOME", "a=b", "a:b", "%1", "^x^y", "(a)", "<made", "тест", "日本", "é"),
)
SHELLS = {"bash": shutil.which("bash"), "zsh": shutil.which("zsh"), "fish": shutil.which("fish")}
PROMPT = "ready>"
SECONDS = 20.0
SETTLED_S = 0.25
RC = {
    "bash": (".bashrc", f"PS1='{PROMPT}'\nbind 'set enable-bracketed-paste off'\n"),
    "zsh": (
        ".zshrc",
        f"PS1='{PROMPT}'\nunsetopt zle_bracketed_paste\nsetopt no_prompt_sp\n"
        "autoload -Uz compinit\ncompinit -u -D\nzstyle ':completion:*' insert-tab false\n",
    ),
    "fish": ("config.fish", f"function fish_prompt; echo -n '{PROMPT}'; end\nset fish_greeting\n"),
}
LOAD = {
    "bash": 'eval "$(vmops completion bash)"\n',
    "zsh": 'eval "$(vmops completion zsh)"\n',
    "fish": "vmops completion fish | source\n",
}
START = {
    "bash": ["bash", "--noprofile", "--rcfile", ".bashrc", "-i"],
    "zsh": ["zsh", "-d", "-i"],
    "fish": ["fish", "-i"],
}


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, argv: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, f"it did not come to it: {self.seen!r}"
            if select.select([self._ours], [], [], 0.05)[0]:
                with suppress(OSError):
                    self.seen += os.read(self._ours, 65536).decode("utf-8", "replace")

    def complete_and_enter(self, text: str, completed: Path) -> None:
        """Type it and Tab; Enter when ``completed`` is there and the line stands still."""
        completed.unlink(missing_ok=True)
        self.type(f"{text}\t")
        self.wait_for(completed.exists)
        while select.select([self._ours], [], [], SETTLED_S)[0]:
            self.seen += os.read(self._ours, 65536).decode("utf-8", "replace")
        self.type("\r")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if SHELLS[name] is None:
        pytest.skip(f"{name} is not on this machine")
    return name


@pytest.fixture
def home(tmp_path: Path, shell: str) -> Path:
    """A home whose ``vmops`` completes as ours, and notes what it is called with."""
    program = tmp_path / "bin/vmops"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'case "$_VMOPS_COMPLETE$1" in *complete|*_source|completion) "{sys.executable}"'
        f' -m vmops.cli.main "$@"; touch "{tmp_path}/completed"; exit;; esac\n'
        f'printf "%s\\0" "$@" > "{tmp_path}/called.part"\n'
        f'mv "{tmp_path}/called.part" "{tmp_path}/called"\n'
    )
    program.chmod(0o755)
    file, content = RC[shell]
    target = tmp_path / (f"config/fish/{file}" if shell == "fish" else file)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content + LOAD[shell])
    (tmp_path / "work").mkdir()
    return tmp_path


@pytest.fixture
def terminal(home: Path, shell: str) -> Iterator[Terminal]:
    environment = {
        "PATH": f"{home}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "VMOPS_STATE_DIR": str(home),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HISTFILE": "/dev/null",
    }
    argv = [part if part != ".bashrc" else str(home / ".bashrc") for part in START[shell]]
    running = Terminal(argv, home / "work", environment)
    try:
        running.wait_for(lambda: PROMPT in running.seen)
        yield running
    finally:
        running.close()


def remember(home: Path, *names: str) -> None:
    (home / "instance-names.json").write_text(json.dumps({"lab": list(names)}))


def test_a_name_that_is_completed_is_typed_whole(
    terminal: Terminal, home: Path, shell: str
) -> None:
    called = home / "called"
    wrong = []
    for name in NAMES:
        remember(home, name)
        called.unlink(missing_ok=True)
        if shell == "fish" and name.startswith("~"):
            continue  # it would mean a home, so it is not offered
        terminal.complete_and_enter("vmops show ", home / "completed")
        terminal.wait_for(called.exists)
        got = called.read_bytes().decode().split("\0")[:-1]
        if got != ["show", name]:
            wrong.append((name, got))
    assert wrong == []
    assert list((home / "work").iterdir()) == []
    assert not (home / "made").exists()


def test_names_that_cannot_be_typed_are_not_offered(terminal: Terminal, home: Path) -> None:
    remember(home, "bell\a", "line\nbreak", "esc\x1b[31m", "\u202ergb", "-rf", "good")
    terminal.complete_and_enter("vmops show ", home / "completed")
    terminal.wait_for((home / "called").exists)
    assert (home / "called").read_bytes().decode().split("\0")[:-1] == ["show", "good"]
