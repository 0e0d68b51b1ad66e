"""A tool that opens an image has no network, no rights of ours, and an end to all it uses."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.builders import qemu_img
from vmops.errors import ImageNotAcceptable
from vmops.images import qemu_img as converter
from vmops.images.confinement import Confined, Limits, running

MIB = 1 << 20
SH = shutil.which("sh") or "/bin/sh"
needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def run(
    script: str, *, files: tuple[int, ...] = (), file_bytes: int = MIB, wall_s: float = 30.0
) -> tuple[str, Confined]:
    """What the script printed, and how it ended."""
    limits = Limits(file_bytes=file_bytes, wall_s=wall_s)
    with (
        TemporaryFile() as complaints,
        running([SH, "-c", script], files=files, limits=limits, complaints=complaints) as tool,
    ):
        assert tool.process.stdout is not None
        said = tool.process.stdout.read().decode()
        tool.process.wait()
    return said, tool


@needs_root
def test_it_is_nobody_and_may_become_nobody_else() -> None:
    said, _ = run("id -u; id -G; grep -E '^(NoNewPrivs|CapEff)' /proc/self/status")
    uid, groups, *rest = said.split("\n")
    assert int(uid) > 1000
    assert groups == uid
    assert [line.split()[1] for line in rest if line] == ["0000000000000000", "1"]


@needs_root
def test_it_sees_no_network() -> None:
    said, _ = run("cat /proc/net/dev /proc/net/route")
    assert [line.split(":")[0].strip() for line in said.splitlines() if ":" in line] == ["lo"]


def test_it_is_in_an_empty_folder_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMOPS_PASSWORD", "canary")
    said, _ = run("pwd; ls -A | wc -l; env")
    folder, files, environment = said.split("\n", 2)
    assert files == "0"
    assert not Path(folder).exists()
    assert "canary" not in environment
    assert f"HOME={folder}" in environment


def test_what_it_may_use_has_an_end() -> None:
    said, _ = run("ulimit -v; ulimit -t; ulimit -f; ulimit -c", file_bytes=5 * MIB)
    assert said.split() == [str(2 * MIB), "3600", str(5 * MIB // 512), "0"]


def test_a_file_that_becomes_too_big_ends_it(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as out:
        number = out.fileno()
        script = f"exec dd if=/dev/zero of=/proc/self/fd/{number} bs=64k count=100"
        _, tool = run(script, files=(number,), file_bytes=MIB)
        assert os.fstat(number).st_size <= MIB
    assert tool.process.returncode == -signal.SIGXFSZ
    assert "bigger than 1.0 MiB" in tool.why_ended()


def test_one_that_never_ends_is_ended() -> None:
    begin = time.monotonic()
    _, tool = run("exec sleep 100", wall_s=0.5)
    assert time.monotonic() - begin < 20
    assert "not ready after" in tool.why_ended()


def test_it_gets_its_files_as_its_own_and_we_have_them_back(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("in it")
    file.chmod(0o600)
    with file.open("rb") as stream:
        path = f"/proc/self/fd/{stream.fileno()}"
        said, _ = run(f"cat {path}; cat {file} 2>&1", files=(stream.fileno(),))
    assert said.startswith("in it")
    if os.geteuid() == 0:
        assert "denied" in said
    assert file.stat().st_uid == os.geteuid()


@needs_qemu_img
def test_a_conversion_writes_no_more_than_is_allowed(tmp_path: Path) -> None:
    raw, out = tmp_path / "a.raw", tmp_path / "a.vmdk"
    raw.write_bytes(os.urandom(8 * MIB))
    with pytest.raises(ImageNotAcceptable, match=r"a\.raw cannot be converted: .*2\.0 MiB"):
        converter.convert(raw, "raw", out, at_most=2 * MIB)
    assert not out.exists()


@needs_qemu_img
def test_a_backing_file_is_not_opened_even_where_a_header_names_one(tmp_path: Path) -> None:
    """Inspection refuses such an image; this is what holds if it ever did not."""
    secret, trap, out = (tmp_path / name for name in ("secret.raw", "trap.qcow2", "out.vmdk"))
    secret.write_bytes(b"SECRET__" * (MIB // 8))
    tmp_path.chmod(0o755)
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", trap)
    converter.convert(trap, "qcow2", out)
    qemu_img("convert", "-f", "vmdk", "-O", "raw", out, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == bytes(MIB)
