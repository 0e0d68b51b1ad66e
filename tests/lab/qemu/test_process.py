"""A process is signalled only if it is certainly the one meant."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vmops.lab.qemu.process import HeldProcess, ProcessIdentity, start_detached

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"]


def start(folder: Path, argv: list[str]) -> ProcessIdentity:
    return start_detached(argv, log_file=folder / "log", descriptors=[])


def test_a_process_is_found_again_by_its_record_and_ends_once(tmp_path: Path) -> None:
    async def run() -> None:
        identity = start(tmp_path, SLEEP)
        first = HeldProcess.of_child(identity)
        try:
            identity.save(tmp_path / "record")
            loaded = ProcessIdentity.load(tmp_path / "record")
            assert loaded == identity
            again = HeldProcess.hold(identity)
            assert again is not None
            assert not await again.wait_ended(0.05)
            again.release()
        finally:
            first.kill()
        assert await first.wait_ended(10)
        assert first.exit_code == -9
        first.kill()
        assert HeldProcess.hold(identity) is None

    asyncio.run(run())


def test_another_process_of_that_number_is_not_held(tmp_path: Path) -> None:
    async def run() -> None:
        identity = start(tmp_path, SLEEP)
        process = HeldProcess.of_child(identity)
        try:
            assert HeldProcess.hold(replace(identity, start_time=identity.start_time - 1)) is None
            assert HeldProcess.hold(replace(identity, boot_id="an earlier boot")) is None
            assert not process.has_ended
        finally:
            process.kill()
            await process.wait_ended(10)

    asyncio.run(run())


def test_what_is_started_gets_the_given_files_and_no_others_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMOPS_PASSWORD", "hidden")
    code = """
import os, sys
print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1], os.getsid(0) == os.getpid())
print(os.read(3, 9), os.read(4, 9), os.environ.get('VMOPS_PASSWORD'))
print('to stderr', file=sys.stderr)
"""

    async def run() -> int | None:
        for name in "ab":
            (tmp_path / name).write_text(f"file {name}")
        with (tmp_path / "a").open() as a, (tmp_path / "b").open() as b:
            identity = start_detached(
                [sys.executable, "-I", "-S", "-c", code],
                log_file=tmp_path / "log",
                descriptors=[b.fileno(), a.fileno()],
            )
        process = HeldProcess.of_child(identity)
        assert await process.wait_ended(30)
        return process.exit_code

    assert asyncio.run(run()) == 0
    assert sorted((tmp_path / "log").read_text().splitlines()) == [
        "[0, 1, 2, 3, 4] True",
        "b'file b' b'file a' None",
        "to stderr",
    ]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start(tmp_path, [str(tmp_path / "none")])


@pytest.mark.parametrize("content", ["", "{}", '{"pid": "x"}', "[1]"])
def test_a_broken_record_is_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "record").write_text(content)
    assert ProcessIdentity.load(tmp_path / "record") is None
    assert ProcessIdentity.load(tmp_path / "none") is None


def test_a_number_without_process_has_no_identity() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(child)
