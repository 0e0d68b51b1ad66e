"""A Linux guest of a lab: made by a client, told what to do at its keyboard, read from its log."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

from pyVmomi import vim, vmodl

from tests.guests.plain_qemu import BOOT_SECONDS, linux_guest, unpack
from tests.lab.client import Client
from tests.lab.specs import add, disk, extra, scsi
from vmops.lab.guest.conversion import convert_raw

device = vim.vm.device
_KEYS = {"-": "minus", " ": "spc", "&": "shift+7", "|": "shift+backslash", "\n": "ret"}
_DO = "guestinfo do|sh\n"
_KEYS_S = 8.0
_TRIES = 3


class LabGuest:
    """A machine with the Linux guest, its serial line in a file."""

    def __init__(self, client: Client, name: str, *, mac: str) -> None:
        self.client = client
        folder = client.lab.datastore_root("datastore1") / name
        folder.mkdir()
        convert_raw(unpack(linux_guest(), folder / "raw"), folder / "root.vmdk", "flat")
        group = client.network("dv-net")  # the one with DHCP
        switch = group.config.distributedVirtualSwitch.uuid
        connection = vim.dvs.PortConnection(switchUuid=switch, portgroupKey=group.key)
        card = device.VirtualVmxnet3(
            key=-10,
            macAddress=mac,
            addressType="manual",
            backing=device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection),
        )
        port = device.VirtualSerialPort(
            key=-20,
            backing=device.VirtualSerialPort.FileBackingInfo(fileName=f"[datastore1] {name}/log"),
            yieldOnPoll=True,
        )
        self.vm = client.create(
            name,
            scsi(),
            add(disk(64, name=f"[datastore1] {name}/root.vmdk")),
            add(card),
            add(port),
            path=f"[datastore1] {name}/{name}.vmx",
            memoryMB=128,
        )
        self._log: Path = folder / "log"
        self._seen = 0
        self._numbers = itertools.count(1)

    def reach_by(self, client: Client) -> None:
        """Go on with a client of another lab, which has found the machine again."""
        self.client = client
        self.vm = vim.VirtualMachine(self.vm._GetMoId(), client.stub)

    def power_on(self) -> None:
        self.client.result(self.vm.PowerOnVM_Task(None))

    def set_extra(self, **options: str) -> None:
        """Set extra configuration; ``__`` in a name stands for a dot."""
        dotted = {key.replace("__", "."): value for key, value in options.items()}
        self.client.reconfigure(self.vm, extraConfig=extra(**dotted))

    def extra(self) -> dict[str, str]:
        return {option.key: option.value for option in self.vm.config.extraConfig}

    def wait_for(self, pattern: str, *, seconds: float = BOOT_SECONDS) -> re.Match[str]:
        """Read the serial line's log up to the pattern, and forget what came before."""
        deadline = time.monotonic() + seconds
        while True:
            text = self._log.read_bytes()[self._seen :].decode(errors="replace")
            if found := re.search(pattern, text):
                self._seen += len(text[: found.end()].encode())
                return found
            assert time.monotonic() < deadline, f"no {pattern!r} on the serial line, but:\n{text}"
            time.sleep(0.02)

    def start(self, command: str) -> int:
        """Type a command at the screen, where root is logged in; its output goes to the log."""
        number = next(self._numbers)
        self.set_extra(
            guestinfo__do=f"{{ echo begin-{number}; {command}; echo end-{number}; }}"
            " > /dev/ttyS0 2>&1"
        )
        self.type(_DO)
        return number

    def run(self, command: str, *, seconds: float = 30.0) -> str:
        """Run a command to its end and return what it printed."""
        number = self.start(command)
        for _ in range(_TRIES):
            # A busy machine loses keys, and a shell that just starts forgets them.
            if self._prints(f"begin-{number}"):
                break
            self.type("\n" + _DO)
        found = self.wait_for(rf"(?s)begin-{number}\r*\n(.*?)end-{number}\r*\n", seconds=seconds)
        return found.group(1).replace("\r", "").strip()

    def _prints(self, text: str) -> bool:
        deadline = time.monotonic() + _KEYS_S
        while time.monotonic() < deadline:
            if text.encode() in self._log.read_bytes()[self._seen :]:
                return True
            time.sleep(0.02)
        return False

    def type(self, text: str) -> None:
        chords = [_KEYS.get(each, each).split("+") for each in text]

        async def press(kernel: Any) -> None:
            qmp = await kernel.hypervisor._guest(self.vm._GetMoId()).qmp()
            for chord in chords:
                keys = [{"type": "qcode", "data": key} for key in chord]
                await qmp.execute("send-key", {"keys": keys, "hold-time": 15})

        self.client.lab.on_loop(press)

    def wait_until(self, path: str, wanted: Any, *, seconds: float = 30.0) -> float:
        """Wait until a property has a value, as the update stream tells; return after how long."""
        query = vmodl.query.PropertyCollector
        started = time.monotonic()
        own = self.client.content.propertyCollector.CreatePropertyCollector()
        try:
            own.CreateFilter(
                query.FilterSpec(
                    propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=[path])],
                    objectSet=[query.ObjectSpec(obj=self.vm)],
                ),
                partialUpdates=False,
            )
            version, value = "", None
            while time.monotonic() < started + seconds:
                found = own.WaitForUpdatesEx(version, query.WaitOptions(maxWaitSeconds=1))
                if found is None:
                    continue
                version = found.version
                for update in found.filterSet[0].objectSet:
                    for change in update.changeSet:
                        value = change.val
                if value == wanted or (callable(wanted) and wanted(value)):
                    return time.monotonic() - started
            raise AssertionError(f"{path} is {value!r} after {seconds} s")
        finally:
            own.DestroyPropertyCollector()
