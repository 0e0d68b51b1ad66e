"""An instance with the Linux guest: what it says on its serial line, and a command typed in it."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.backends.lab import LabBackend
from tests.contract.engine import Bench
from tests.guests.plain_qemu import BOOT_SECONDS, linux_guest
from vmops import Flavor, Instance
from vmops.model.image import Image

IMAGE = "linux"
DISK_MIB = 64
MEMORY_MIB = 128
COMMAND = "guestinfo.do"
"""The key of the command that `LinuxGuest.run` runs, of the machine that is to run it."""
_KEYS = {" ": "spc", "|": "shift-backslash", "\n": "ret"}


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

    @classmethod
    def spawn(cls, bench: Bench, instance: Instance, command: str = "") -> LinuxGuest:
        """Spawn it; ``command`` is what `run` will run, whichever system it boots then."""
        bench.spawn(
            linux_image(bench),
            instance=instance,
            linked_clone=False,
            extra_config={COMMAND: command} if command else None,
        )
        return cls(bench, instance)

    def wait_for(self, pattern: str, *, seconds: float = BOOT_SECONDS) -> str:
        """Read the log up to the pattern, and forget what came before its end."""
        deadline = time.monotonic() + seconds
        while True:
            text = self._log.read_bytes()[self._seen :].decode("ascii", "replace")
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

    def run(self) -> None:
        """Type the command that runs the one of `spawn` at the screen, where root is logged in."""
        self.wait_for("root login on 'tty1'")
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
