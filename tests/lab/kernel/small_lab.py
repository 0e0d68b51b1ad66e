"""A kernel on the wire with an inventory of a few plain objects, for tests of the kernel alone."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web
from pyVmomi import vim

from vmops.lab.hypervisor.null import NullHypervisor
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.service import add_service
from vmops.lab.kernel.service_instance import WIRE_VERSION
from vmops.lab.kernel.task import Tasks, start_task
from vmops.lab.loop_thread import LoopThread
from vmops.lab.settings import LabSettings
from vmops.lab.storage.merging import LayerFiles
from vmops.lab.wire import tls
from vmops.lab.wire.app import application
from vmops.lab.wire.codec import encoder
from vmops.lab.wire.wire_log import WireLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

USER, PASSWORD = "administrator@vsphere.local", "not-a-real-secret"


class Entity(ManagedObject):
    """An object that has tasks."""

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self.computed["recentTask"] = lambda: kernel.service(Tasks).recent_of(self)


class Folder(Entity):
    wire_type = vim.Folder


class Machine(Entity):
    """A virtual machine that has what the tests ask for."""

    wire_type = vim.VirtualMachine

    def PowerOnVM_Task(self, host: Any = None) -> Any:
        async def run(task: Any) -> None:
            if self.properties["runtime"].powerState == "poweredOn":
                raise vim.fault.InvalidPowerState(
                    requestedState="poweredOn", existingState="poweredOn"
                )
            task.progress(50)
            await asyncio.sleep(0.02)
            self.kernel.update(self, {"runtime.powerState": "poweredOn"})

        return start_task(self, "VirtualMachine.powerOn", run)

    def ReconfigVM_Task(self, spec: Any) -> Any:
        async def run(task: Any) -> None:
            changes: dict[str, Any] = {}
            if spec.memoryMB:
                changes["config.hardware.memoryMB"] = spec.memoryMB
            if spec.extraConfig:
                changes["config.extraConfig"] = list(spec.extraConfig)
            if spec.deviceChange:
                changes["config.hardware.device"] = [each.device for each in spec.deviceChange]
            self.kernel.update(self, changes)

        return start_task(self, "VirtualMachine.reconfigure", run)

    def ResetVM_Task(self) -> Any:
        async def run(task: Any) -> None:
            while True:
                await asyncio.sleep(0.01)
                task.check_cancelled()

        return start_task(self, "VirtualMachine.reset", run)

    def SuspendVM_Task(self) -> Any:
        async def run(task: Any) -> None:
            raise ZeroDivisionError("the secret is 42")

        return start_task(self, "VirtualMachine.suspend", run)

    def RefreshStorageInfo(self) -> None:
        raise ZeroDivisionError("the secret is 42")

    def AnswerVM(self, questionId: str, answerChoice: str) -> None:
        raise vim.fault.ConcurrentAccess()


def machine(kernel: Kernel, name: str, memory_mb: int = 512) -> Machine:
    vm = Machine(kernel, kernel.new_moid("vm"))
    vm.properties |= {
        "name": name,
        "runtime": vim.vm.RuntimeInfo(
            connectionState="connected",
            powerState="poweredOff",
            faultToleranceState="notConfigured",
            toolsInstallerMounted=False,
            numMksConnections=0,
            recordReplayState="inactive",
            onlineStandby=False,
            consolidationNeeded=False,
        ),
        "config": vim.vm.ConfigInfo(
            name=name,
            changeVersion="1",
            modified=datetime(1970, 1, 1, tzinfo=UTC),
            guestFullName="Other",
            version="vmx-19",
            uuid="0",
            template=False,
            guestId="otherGuest",
            alternateGuestName="",
            files=vim.vm.FileInfo(),
            flags=vim.vm.FlagInfo(),
            defaultPowerOps=vim.vm.DefaultPowerOpInfo(),
            hardware=vim.vm.VirtualHardware(
                numCPU=1,
                memoryMB=memory_mb,
                device=[
                    vim.vm.device.VirtualDisk(
                        key=2000,
                        capacityInKB=1024,
                        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                            fileName=f"[ds] {name}/{name}.vmdk", diskMode="persistent"
                        ),
                    )
                ],
            ),
            extraConfig=[vim.option.OptionValue(key="k.one", value="1 < 2 & 3")],
        ),
        "layoutEx": None,
    }
    return vm


def populate(kernel: Kernel) -> None:
    root = Folder(kernel, "group-d1")
    vms = Folder(kernel, "group-v3")
    root.properties |= {"name": "Datacenters", "childEntity": [vms.ref], "parent": None}
    vms.properties |= {"name": "vm", "childEntity": [], "parent": root.ref}
    kernel.add(root)
    kernel.add(vms)
    for number in range(3):
        add_machine(kernel, f"vm{number}")


def add_machine(kernel: Kernel, name: str) -> Machine:
    vm = machine(kernel, name)
    folder = kernel.registry.get("group-v3")
    vm.properties["parent"] = folder.ref
    kernel.add(vm)
    kernel.update(folder, {"childEntity": [*folder.properties["childEntity"], vm.ref]})
    return vm


def remove_machine(kernel: Kernel, moid: str) -> None:
    folder = kernel.registry.get("group-v3")
    left = [ref for ref in folder.properties["childEntity"] if ref._moId != moid]
    kernel.update(folder, {"childEntity": left})
    kernel.remove(kernel.registry.get(moid))


class SmallLab:
    def __init__(self, state_dir: Path, **options: Any) -> None:
        self.settings = LabSettings(state_dir=state_dir, hypervisor="none", **options)
        self.kernel = Kernel(self.settings, NullHypervisor(LayerFiles()))
        self.wire_log = WireLog()
        self.sessions = add_service(
            self.kernel,
            password=PASSWORD,
            instance_uuid="00000000-0000-4000-8000-000000000000",
            fingerprint=lambda value: hash(encoder(WIRE_VERSION).text("v", object, value)),
        )
        populate(self.kernel)
        self.username, self.password = USER, PASSWORD
        self.certificate_file = self.settings.certificate_file
        self.port = 0
        self._thread = LoopThread("small-lab")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/sdk"

    def start(self) -> None:
        tls.ensure_certificate(self.settings.certificate_file, self.settings.key_file)
        self._thread.call(self._start())

    def on_loop(self, work: Callable[[Kernel], Any]) -> Any:
        async def call() -> Any:
            result = work(self.kernel)
            return await result if asyncio.iscoroutine(result) else result

        return self._thread.call(call())

    def stop(self) -> None:
        self._thread.call(self._stop())
        self._thread.close()

    async def _start(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        app = application(self.kernel, self.sessions, self.wire_log)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        context = tls.server_context(self.settings.certificate_file, self.settings.key_file)
        await web.SockSite(self._runner, listening, ssl_context=context).start()

    async def _stop(self) -> None:
        self.sessions.end_all()
        await self._runner.cleanup()
        await self.kernel.stop()


@contextmanager
def small_lab(state_dir: Path, **options: Any) -> Iterator[SmallLab]:
    lab = SmallLab(state_dir, **options)
    lab.start()
    try:
        yield lab
    finally:
        lab.stop()
