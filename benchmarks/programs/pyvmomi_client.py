"""pyVmomi as its own examples use it: SmartConnect, and WaitForTask with a filter for each task."""

from __future__ import annotations

import logging
import ssl
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from benchmarks.programs.serving import serve, timestamp


class PyVmomiProgram:
    """The handlers; what they take is the same as in `engine`."""

    def connect(self, url: str, username: str, password: str, ca_file: str, **_: Any) -> str:
        from importlib.metadata import version

        from pyVim.connect import SmartConnect

        address = urlsplit(url)
        self.service = SmartConnect(
            host=address.hostname,
            port=address.port,
            user=username,
            pwd=password,
            sslContext=ssl.create_default_context(cafile=ca_file),
        )
        return version("pyvmomi")

    def make_volume(self, name: str, cluster: str, datastore: str, mib: int) -> str:
        """A machine that is never on and holds a disk, as Cinder keeps volumes; its moid."""
        from pyVim.task import WaitForTask
        from pyVmomi import vim

        device = vim.vm.device
        change = device.VirtualDeviceSpec
        backing = device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[{datastore}]", diskMode="persistent", thinProvisioned=True
        )
        disk = device.VirtualDisk(
            key=-2, controllerKey=-1, unitNumber=0, capacityInKB=mib * 1024, backing=backing
        )
        controller = device.VirtualLsiLogicController(
            key=-1, busNumber=0, sharedBus=device.VirtualSCSIController.Sharing.noSharing
        )
        spec = vim.vm.ConfigSpec(
            name=name,
            numCPUs=1,
            memoryMB=64,
            guestId="otherGuest",
            files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
            deviceChange=[
                change(operation=change.Operation.add, device=controller),
                change(
                    operation=change.Operation.add,
                    fileOperation=change.FileOperation.create,
                    device=disk,
                ),
            ],
        )
        (datacenter,) = self.service.content.rootFolder.childEntity
        compute = next(each for each in datacenter.hostFolder.childEntity if each.name == cluster)
        task = datacenter.vmFolder.CreateVM_Task(spec, compute.resourcePool)
        WaitForTask(task, si=self.service)
        return str(task.info.result._moId)

    def wake_up(self, uuid: str, method: str) -> float:
        """Seconds from the end of a task, by the server's clock, to the end of waiting for it."""
        from pyVim.task import WaitForTask

        vm = self.service.content.searchIndex.FindByUuid(None, uuid, True, True)
        task = {"PowerOnVM_Task": vm.PowerOn, "PowerOffVM_Task": vm.PowerOff}[method]()
        WaitForTask(task, si=self.service)
        woken = time.time()
        return woken - timestamp(task.info.completeTime)

    def close(self) -> None:
        from pyVim.connect import Disconnect

        Disconnect(self.service)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    program = PyVmomiProgram()
    names = [name for name in vars(PyVmomiProgram) if not name.startswith("_")]
    serve({name: getattr(program, name) for name in names})
    if hasattr(program, "service"):
        program.close()


if __name__ == "__main__":
    main()
