"""The part of `VMwareVMOps` that looks into an instance: diagnostics, screen, serial port."""

from __future__ import annotations

from collections.abc import Callable

from vmops.model.diagnostics import InstanceDiagnostics
from vmops.ops.engine import vnc
from vmops.ops.engine.vnc import VncConsole
from vmops.ops.guard.refusals import explained
from vmops.ops.instances import console, diagnostics
from vmops.ops.instances.diagnostics import Scalar
from vmops.ops.instances.instance_diagnostics import get_instance_diagnostics
from vmops.ops.vmops import shapes
from vmops.ops.vmops.base import EngineBase, T
from vmops.ops.vmops.shapes import Shape
from vmops.vsphere.objects.lookup import with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine


class ConsoleMethods(EngineBase):
    """Methods that change nothing: they take no lock, and work beside any operation."""

    def get_diagnostics(self, instance: Shape) -> dict[str, Scalar]:
        """What vSphere tells of an instance, flat; see `instances.diagnostics.get_diagnostics`."""
        return self._look(instance, "get_diagnostics", diagnostics.get_diagnostics)

    def get_instance_diagnostics(self, instance: Shape) -> InstanceDiagnostics:
        """The same typed, with counters of its parts.

        See `vmops.ops.instances.instance_diagnostics.get_instance_diagnostics`.
        """
        return self._look(instance, "get_instance_diagnostics", get_instance_diagnostics)

    def get_console_output(self, instance: Shape) -> bytes:
        """The tail of the instance's serial log; see `vmops.ops.instances.console.serial_log`."""
        uuid, log_dir = shapes.instance_uuid(instance), self._settings.serial_log_dir
        with self._operation("get_console_output"), explained(self._session, uuid):
            return console.serial_log(self._session, uuid, log_dir=log_dir)

    def get_console_screenshot(self, instance: Shape) -> bytes:
        """The instance's screen now, as PNG; see `vmops.ops.instances.console.screenshot`."""
        return self._look(instance, "get_console_screenshot", console.screenshot)

    def get_vnc_console(self, instance: Shape) -> VncConsole:
        """Where the instance's screen is, at the endpoint; see `engine.vnc.get_vnc_console`."""
        return self._look(
            instance,
            "get_vnc_console",
            lambda vm: vnc.get_vnc_console(vm, self._settings, at_host=False),
        )

    def get_vnc_console_vcenter(self, instance: Shape) -> VncConsole:
        """The same at the host that runs the instance now, which a migration changes."""
        return self._look(
            instance,
            "get_vnc_console_vcenter",
            lambda vm: vnc.get_vnc_console(vm, self._settings, at_host=True),
        )

    def _look(self, instance: Shape, name: str, do: Callable[[VirtualMachine], T]) -> T:
        uuid = shapes.instance_uuid(instance)
        with self._operation(name), explained(self._session, uuid):
            return with_vm(self._session, uuid, do)
