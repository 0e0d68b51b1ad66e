"""The command against a lab without guests, run in this process or in one of its own."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vmops.cli.main import main
from vmops.lab import Lab, LabSettings
from vmops.lab.guest import build_boot_sector_guest

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = (signal.SIGTERM, signal.SIGHUP)
COMMAND = [sys.executable, "-m", "vmops.cli.main"]


@dataclass(frozen=True)
class Result:
    """What a run of the command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """Runs ``vmops`` with settings of its own; no password ever shows in what it prints."""

    def __init__(self, env: dict[str, str], secrets: tuple[str, ...] = ()) -> None:
        self.env = env
        self.secrets = secrets

    def with_env(self, **env: str | None) -> Command:
        """Another one with some variables changed, or removed by None."""
        merged = {k: v for k, v in {**self.env, **env}.items() if v is not None}
        return Command(merged, self.secrets)

    def __call__(self, *args: str) -> Result:
        """Run it here, through the same `main` that the installed command calls."""
        handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, *ENDING)}
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "12")
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name in [name for name in os.environ if name.startswith(("VMOPS_", "GOVC_"))]:
                patch.delenv(name)
            for name, value in self.env.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["vmops", *args])
            patch.setattr(sys, "stdin", io.StringIO())
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            try:
                main()
                code = 0
            except SystemExit as leave:
                code = int(leave.code or 0)
            finally:
                logging.getLogger("vmops").handlers[:] = []
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return self._checked(code, _text(out), _text(err))

    def start(
        self, *args: str, program: Sequence[str] = COMMAND, **settings: Any
    ) -> subprocess.Popen[str]:
        """Start it as a process; the caller waits for it with `finish`."""
        ours = ("VMOPS_", "GOVC_", "NO_COLOR")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        kept["VMOPS_TEST_SESSION"] = os.environ["VMOPS_TEST_SESSION"]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*program, *args], env={**kept, **self.env}, text=True, **{**pipes, **settings}
        )

    def finish(self, process: subprocess.Popen[str]) -> Result:
        """Wait for a process that was started."""
        try:
            out, err = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return self._checked(process.returncode, out or "", err or "")

    def process(self, *args: str) -> Result:
        """Run it as a process."""
        return self.finish(self.start(*args))

    def _checked(self, code: int, out: str, err: str) -> Result:
        for secret in self.secrets:
            assert secret not in out
            assert secret not in err
        return Result(code, out, err)


def _text(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="module")
def boot_sector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image file."""
    return build_boot_sector_guest(tmp_path_factory.mktemp("guest") / "boot-sector.vmdk")


@pytest.fixture(scope="module")
def vmops(lab: Lab, boot_sector: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, pointed at the module's lab as at any vCenter, with an image "small"."""
    state = tmp_path_factory.mktemp("state")
    command = Command(
        {
            "VMOPS_STATE_DIR": str(state),
            "VMOPS_URL": lab.url,
            "VMOPS_USERNAME": lab.username,
            "VMOPS_PASSWORD": lab.password,
            "VMOPS_THUMBPRINT": lab.thumbprint,
        },
        secrets=(lab.password,),
    )
    assert command("image", "add", str(boot_sector), "--name", "small").code == 0
    return command


def spawn(vmops: Command, name: str, *more: str) -> Result:
    return vmops("spawn", name, "--image", "small", "--memory", "16M", *more)


@pytest.fixture(scope="module")
def slow(vmops: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command with an image "slow", whose upload takes long enough to be interrupted."""
    raw = tmp_path_factory.mktemp("raw") / "slow.raw"
    raw.write_bytes(os.urandom(1024**2) * 512)
    add = ("image", "add", str(raw), "--name", "slow", "--disk-type", "preallocated")
    assert vmops(*add).code == 0
    raw.unlink()
    return vmops


def begin_upload(command: Command, name: str) -> subprocess.Popen[str]:
    """A spawn whose upload has just begun."""
    process = command.start("--progress", "json", "spawn", name, "--image", "slow")
    assert process.stderr
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "TransferProgress":
            return process
    pytest.fail(f"no upload: {command.finish(process)}")
