"""The endpoint: a lab in a process of its own, which tells what came in over its wire."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.programs.serving import serve
from vmops.lab import Lab, LabSettings
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.qemu.hypervisor import QemuHypervisor

KEYS = {" ": "spc", "|": "shift-backslash", "\n": "ret"}


class LabProgram:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._lab: Lab | None = None

    @property
    def lab(self) -> Lab:
        assert self._lab, "start comes first"
        return self._lab

    def start(self, state_dir: str, **settings: Any) -> dict[str, str]:
        self._lab = self._stack.enter_context(
            Lab.run(LabSettings(state_dir=Path(state_dir), **settings))
        )
        return {
            "url": self.lab.url,
            "username": self.lab.username,
            "password": self.lab.password,
            "ca_file": str(self.lab.certificate_file),
            "thumbprint": self.lab.thumbprint,
        }

    def clear(self) -> None:
        self.lab.wire_log.clear()

    def calls(self) -> dict[str, int]:
        """SOAP calls since `clear`, by method."""
        return dict(self.lab.wire_log.methods())

    def delay_tasks(self, seconds: float) -> None:
        """Let every task take at least so long from now on."""

        async def delay(kernel: Kernel) -> None:
            kernel.settings = replace(kernel.settings, task_delay_s=seconds)

        self.lab.on_loop(delay)

    def type(self, moid: str, text: str) -> None:
        """Type at the keyboard of a guest."""
        chords = [KEYS.get(each, each).split("-") for each in text]

        async def press(kernel: Kernel) -> None:
            assert isinstance(kernel.hypervisor, QemuHypervisor)
            qmp = await kernel.hypervisor._guest(moid).qmp()
            for chord in chords:
                keys = [{"type": "qcode", "data": key} for key in chord]
                await qmp.execute("send-key", {"keys": keys, "hold-time": 15})

        self.lab.on_loop(press)

    def datastore_root(self, name: str) -> str:
        return str(self.lab.datastore_root(name))


def main() -> None:
    # Ctrl-C is for the run, which then ends its workers in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with ExitStack() as stack:
        program = LabProgram(stack)
        serve(
            {
                "start": program.start,
                "clear": program.clear,
                "calls": program.calls,
                "delay_tasks": program.delay_tasks,
                "datastore_root": program.datastore_root,
                "type": program.type,
            }
        )


if __name__ == "__main__":
    main()
