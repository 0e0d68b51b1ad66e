"""An instance with the Linux guest: what it says on its serial line, and a command typed in it."""

from __future__ import annotations

import itertools
import re
import time
from typing import Any

from pyVmomi import vim

from tests.backends import second_view
from tests.backends.lab import LabBackend
from tests.contract.engine import Bench
from tests.guests.plain_qemu import BOOT_SECONDS, linux_guest
from vmops import Flavor, Instance
from vmops.model.image import Image

IMAGE = "linux"
DISK_MIB = 64
MEMORY_MIB = 128
COMMAND = "guestinfo.do"
"""The key of the command that the guest is told to run, whichever system it has booted."""
_KEYS = {" ": "spc", "|": "shift-backslash", "\n": "ret"}
_COMMAND_SECONDS = 60.0


def linux_image(bench: Bench) -> str:
    """The image's name; it is built once for this checkout, and put in the store once."""
    store = bench.images.store
    if IMAGE not in {image.name for image in store.list()}:
        bench.images.add(IMAGE, linux_guest(), vmware_adaptertype="paraVirtual")
    image: Image = store.get(IMAGE)
    return image.name


class LinuxGuest:
    """The guest of an instance."""

    def __init__(self, bench: Bench, instance: Instance) -> None:
        self.bench = bench
        self.instance = instance
        self._log = bench.root() / instance.uuid / "serial.log"
        self._seen = 0
        self._numbers = itertools.count(1)

    @classmethod
    def spawn(cls, bench: Bench, instance: Instance, **options: Any) -> LinuxGuest:
        """Spawn it from the image, with what else `Bench.spawn` takes."""
        bench.spawn(linux_image(bench), instance=instance, linked_clone=False, **options)
        return cls(bench, instance)

    def new_text(self) -> str:
        """What it said since what was last waited for."""
        return self._log.read_bytes()[self._seen :].decode("ascii", "replace")

    def wait_for(self, pattern: str, *, seconds: float = BOOT_SECONDS) -> str:
        """Read the log up to the pattern, and forget what came before its end."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.new_text()
            if found := re.search(pattern, text):
                self._seen += len(text[: found.end()])
                return found.group()
            assert time.monotonic() < deadline, f"no {pattern!r} on the serial line, but:\n{text}"
            time.sleep(0.05)

    def wait_for_boot(self, number: int, flavor: Flavor, disk_mib: int = DISK_MIB) -> None:
        """Wait for it to tell which boot this is and what it has."""
        self.wait_for(rf"vmops-guest: boot {number}\r\n")
        has = f"cpus {flavor.vcpus} memory {flavor.memory_mib} MiB disk {disk_mib} MiB"
        self.wait_for(rf"vmops-guest: {has}\r\n")

    def wait_for_login(self) -> None:
        """Wait until root is logged in at the screen, so that it can be told what to do."""
        self.wait_for("root login on 'tty1'")

    def wait_for_tools(self) -> None:
        """Wait until the server knows that its Tools run."""
        deadline = time.monotonic() + BOOT_SECONDS
        path = "guest.toolsRunningStatus"
        vm = self.bench.vm(self.instance)
        while second_view.properties(vm, path).get(path) != "guestToolsRunning":
            assert time.monotonic() < deadline, "its Tools do not run"
            time.sleep(0.1)

    def tell(self, command: str) -> str:
        """Run a command in it, once root is logged in, and return what it printed."""
        number = next(self._numbers)
        whole = f"{{ echo begin-{number}; {command}; echo end-{number}; }} > /dev/ttyS0 2>&1"
        option = vim.option.OptionValue(key=COMMAND, value=whole)
        spec = vim.vm.ConfigSpec(extraConfig=[option])
        second_view.finished(self.bench.vm(self.instance).ReconfigVM_Task(spec))
        self._type()
        self.wait_for(rf"begin-{number}\r*\n", seconds=_COMMAND_SECONDS)
        said = self.wait_for(rf"(?s).*?end-{number}\r*\n", seconds=_COMMAND_SECONDS)
        return said.rpartition(f"end-{number}")[0].replace("\r", "").strip()

    def _type(self) -> None:
        backend = self.bench.backend
        assert isinstance(backend, LabBackend)
        moid = self.bench.vm(self.instance)._GetMoId()

        async def press(kernel: Any) -> None:
            qmp = await kernel.hypervisor._guest(moid).qmp()
            for letter in "guestinfo do|sh\n":
                chord = _KEYS.get(letter, letter).split("-")
                keys = [{"type": "qcode", "data": key} for key in chord]
                await qmp.execute("send-key", {"keys": keys, "hold-time": 15})

        backend.lab.on_loop(press)
