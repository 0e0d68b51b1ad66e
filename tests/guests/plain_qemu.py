"""A guest under QEMU with nothing of the lab around it: a disk, a serial line, a network card."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from vmops.lab.guest import PASSWORD, USER, PackagesUnavailable, ensure_guest

BUILD = Path(__file__).resolve().parents[2] / ".build"
# Emulated, and on a machine that runs other tests too, a guest may take many times its usual time.
BOOT_SECONDS = 120.0


def linux_guest() -> Path:
    """The Linux guest as streamOptimized VMDK, built once for this checkout."""
    require_qemu()
    try:
        return ensure_guest(BUILD)
    except PackagesUnavailable as error:
        pytest.skip(f"no guest image: {error}")


def require_qemu() -> None:
    for program in ("qemu-system-x86_64", "qemu-img"):
        if shutil.which(program) is None:
            pytest.skip(f"no guests without {program}")


def unpack(image: Path, raw: Path) -> Path:
    """Turn a VMDK into a raw disk by qemu-img, which is not ours."""
    command = ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", str(image), str(raw)]
    subprocess.run(command, check=True, capture_output=True)
    return raw


def disk_devices(bus: str, disks: list[Path]) -> list[str]:
    """The disks on one bus; the last one given is the one the firmware starts from."""
    arguments = ["-device", "pvscsi,id=scsi0"] if bus == "pvscsi" else []
    for number, disk in enumerate(disks):
        backend = f"driver=raw,node-name=disk{number},file.driver=file,file.filename={disk}"
        place = {
            "pvscsi": f"scsi-hd,bus=scsi0.0,scsi-id={number}",
            "ide": f"ide-hd,bus=ide.{number}",
        }[bus]
        device = f"{place},drive=disk{number},bootindex={len(disks) - number}"
        arguments += ["-blockdev", backend, "-device", device]
    return arguments


class PlainQemu:
    """One running guest; leaving the ``with`` ends it."""

    def __init__(
        self,
        disks: list[Path],
        *,
        bus: str = "pvscsi",
        memory_mib: int = 128,
        more: tuple[str, ...] = (),
    ) -> None:
        # A socket's path has to be short, which pytest's folders are not.
        self._folder = Path(tempfile.mkdtemp(prefix="vmops-guest-"))
        self.text = ""
        serial, qmp = self._folder / "serial", self._folder / "qmp"
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-M", "pc", "-accel", "tcg,tb-size=32"),
            *("-m", str(memory_mib), "-vga", "std", "-display", "none"),
            *disk_devices(bus, disks),
            *("-netdev", "user,id=net0,restrict=on", "-device", "vmxnet3,netdev=net0"),
            *("-chardev", f"socket,id=serial,path={serial},server=on,wait=on"),
            *("-serial", "chardev:serial", "-qmp", f"unix:{qmp},server=on,wait=off", *more),
        ]
        with (self._folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            # QEMU waits for the serial line's reader before the guest runs: nothing is missed.
            self._serial = self._connect(serial)
            self._qmp = self._connect(qmp)
            self._qmp.settimeout(30)
            self._replies = self._qmp.makefile("r")
            self._replies.readline()
            self.execute("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def _connect(self, path: Path) -> socket.socket:
        """Connect to a socket of QEMU's, which appears a moment after it is started."""
        line = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 30
        while True:
            try:
                line.connect(str(path))
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    line.close()
                    log = (self._folder / "log").read_text()
                    raise AssertionError(f"QEMU did not start: {log}") from None
                time.sleep(0.02)
            else:
                return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for name in ("_serial", "_replies", "_qmp"):
            if hasattr(self, name):
                getattr(self, name).close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def execute(self, command: str, **arguments: Any) -> Any:
        self._qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while line := self._replies.readline():
            reply = json.loads(line)
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise AssertionError(reply["error"]["desc"])
        raise AssertionError("QEMU closed its control line")

    def wait_for(self, pattern: str, *, seconds: float = BOOT_SECONDS) -> re.Match[str]:
        """Read the serial line up to the pattern, and forget what came before."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.text)) is None:
            self._serial.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._serial.recv(4096)
            except TimeoutError:
                data = b""
            if not data:
                raise AssertionError(f"no {pattern!r} on the serial line, but:\n{self.text}")
            self.text += data.decode(errors="replace")
        self.text = self.text[found.end() :]
        return found

    def type(self, line: str) -> None:
        self._serial.sendall(line.encode() + b"\n")

    def log_in(self, password: str = PASSWORD) -> None:
        self.wait_for("login: ?")
        self.type(USER)
        self.wait_for("Password: ?")
        self.type(password)

    def run(self, command: str) -> str:
        """Run a command at the shell on the serial line and return what it printed."""
        # The mark is typed in two parts, so that the echo of the line is not taken for it.
        self.type(f"echo be''gin; {command}; echo e''nd")
        self.wait_for(r"begin\r*\n", seconds=30)
        return self.wait_for(r"(?s)(.*?)end\r*\n", seconds=30).group(1).strip()

    def screen_text(self) -> list[str]:
        """The 80x25 characters the graphics card shows, out of its memory."""
        dump = self._folder / "screen"
        self.execute("pmemsave", val=0xB8000, size=4000, filename=str(dump))
        text = dump.read_bytes()[::2].decode("cp437")
        return [text[start : start + 80].rstrip() for start in range(0, 2000, 80)]

    def press_power_button(self) -> None:
        self.execute("system_powerdown")
        self.process.wait(timeout=60)
