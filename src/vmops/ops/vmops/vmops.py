"""The engine's face: `VMwareVMOps`, with the methods and signatures of Nova's class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmops.errors import Busy, LeftBehind
from vmops.model.instance import InstanceInfo
from vmops.ops.guard.preempting import make_way
from vmops.ops.instances import info, power, rebooting
from vmops.ops.instances import pause as pausing
from vmops.ops.instances.destroy import destroy
from vmops.ops.instances.rescue import rescue, unrescue
from vmops.ops.vmops import shapes
from vmops.ops.vmops.consoles import ConsoleMethods
from vmops.ops.vmops.interfaces import InterfaceMethods
from vmops.ops.vmops.moves import MoveMethods
from vmops.ops.vmops.resize import ResizeMethods
from vmops.ops.vmops.shapes import Shape
from vmops.ops.vmops.spawn import SpawnMethods
from vmops.ops.vmops.volumes import VolumeMethods


class VMwareVMOps(
    ConsoleMethods, InterfaceMethods, MoveMethods, ResizeMethods, SpawnMethods, VolumeMethods
):
    """The lifecycle of virtual machines on a vCenter's cluster or a single ESXi.

    Every method may be called from any thread; two operations on one instance at once raise `Busy`
    for the second, but two that want it on, or off, both find it so. ``context``, ``network_info``
    and the like are of Nova's shapes or ours (see `ops.vmops.shapes`); an instance may also be
    given by its UUID where nothing else of it is needed. Errors are those of `vmops.errors`;
    besides those named, every method may raise `InvalidState` where the instance's host or files
    cannot be reached, and
    `Unavailable` and `Refused` when the server cannot be reached or does not let us in.
    """

    def list_instances(self) -> list[str]:
        """The UUIDs of all instances; see `vmops.ops.instances.info.list_instances`."""
        with self._operation("list_instances"):
            return info.list_instances(self._session)

    def get_info(self, instance: Shape) -> InstanceInfo:
        """State and size of an instance; see `vmops.ops.instances.info.get_info`."""
        with self._operation("get_info"):
            return info.get_info(self._session, shapes.instance_uuid(instance))

    def destroy(
        self,
        instance: Shape,
        network_info: Iterable[Shape] | None,
        destroy_disks: bool = True,
        *,
        preempt: bool = False,
    ) -> None:
        """Destroy an instance; see `vmops.ops.instances.destroy.destroy` for the steps.

        With ``preempt`` an operation of this process that works on it is stopped first, and so are
        the server's tasks: see `vmops.ops.guard.preempting.make_way`.
        """
        uuid = shapes.instance_uuid(instance)
        for is_last in (False, False, True) if preempt else (True,):
            if preempt and not self._session.is_planning:
                with self._operation("destroy"):
                    make_way(self._session, self._locks, uuid, "destroy")
            try:
                with self._alone(uuid, "destroy"):
                    destroy(self._session, uuid, destroy_disks=destroy_disks)
            except (Busy, LeftBehind) as failure:
                if is_last or not isinstance(failure.__cause__ or failure, Busy):
                    raise
            else:
                return

    def power_on(
        self,
        context: Any,
        instance: Shape,
        network_info: Iterable[Shape] | None = None,
        block_device_info: Shape = None,
    ) -> None:
        """Power on, or resume if suspended; see `vmops.ops.instances.power.power_on`."""
        self._on(instance, "power on", power.power_on, after_same=True)

    def power_off(
        self,
        instance: Shape,
        timeout: float = 0,
        retry_interval: float = 0,
        *,
        discard_memory: bool = False,
    ) -> None:
        """Shut the guest down within ``timeout`` seconds, else pull the plug.

        It is looked every ``retry_interval`` seconds. A suspended or paused instance is refused,
        unless its memory may be lost: ``discard_memory``. See `instances.power.power_off`.
        """
        patience = power.Patience(timeout_s=timeout, retry_interval_s=retry_interval)
        self._on(
            instance,
            "power off",
            lambda vm: power.power_off(vm, patience, discard_memory=discard_memory),
            after_same=True,
        )

    def reboot(
        self,
        instance: Shape,
        network_info: Iterable[Shape] | None = None,
        reboot_type: str = "SOFT",
    ) -> None:
        """Reboot, by the guest's Tools if they run and the type is SOFT, by a reset otherwise.

        See `vmops.ops.instances.power.reboot`.
        """
        hard = reboot_type.upper() == "HARD"
        self._on(instance, "reboot", lambda vm: power.reboot(vm, hard=hard))

    def suspend(self, instance: Shape) -> None:
        """Suspend to disk; see `vmops.ops.instances.power.suspend`."""
        self._on(instance, "suspend", power.suspend)

    def resume(self, instance: Shape) -> None:
        """Go on where `suspend` stopped; see `vmops.ops.instances.power.resume`."""
        self._on(instance, "resume", power.resume)

    def pause(self, instance: Shape) -> None:
        """Suspend and mark as paused, as vSphere has no pause; see `instances.pause.pause`."""
        emulate = self._settings.emulate_pause
        self._on(instance, "pause", lambda vm: pausing.pause(vm, emulate=emulate))

    def unpause(self, instance: Shape) -> None:
        """Let a paused instance go on; see `vmops.ops.instances.pause.unpause`."""
        emulate = self._settings.emulate_pause
        self._on(instance, "unpause", lambda vm: pausing.unpause(vm, emulate=emulate))

    def rescue(
        self, context: Any, instance: Shape, network_info: Iterable[Shape] | None, image_meta: Shape
    ) -> None:
        """Boot from another image, with the own root disk beside; see `instances.rescue.rescue`."""
        image = shapes.parse_image(image_meta, self._images)
        self._on(instance, "rescue", lambda vm: rescue(self._engine, vm, image))

    def unrescue(self, instance: Shape, power_on: bool = True) -> None:
        """Put a rescued instance back; see `vmops.ops.instances.rescue.unrescue`."""
        self._on(
            instance, "unrescue", lambda vm: unrescue(self._engine, vm, power_on_after=power_on)
        )

    def poll_rebooting_instances(self, timeout: float, instances: Iterable[Shape]) -> None:
        """Reset instances whose guests have not come back from a reboot within ``timeout``.

        The caller has chosen those that are overdue; see
        `vmops.ops.instances.rebooting.reset_if_gone`.
        """
        for instance in instances:
            uuid = shapes.instance_uuid(instance)
            with self._operation("poll_rebooting_instances"):
                rebooting.reset_if_gone(self._session, uuid, self._locks)
