"""The methods of `VMwareVMOps` that give an instance another size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmops.ops.instances.power import Patience
from vmops.ops.resize.begin import ResizeRequest, Tell, migrate_disk_and_power_off
from vmops.ops.resize.confirm import confirm_migration
from vmops.ops.resize.finish import finish_migration
from vmops.ops.resize.revert import finish_revert_migration
from vmops.ops.vmops import shapes
from vmops.ops.vmops.base import EngineBase
from vmops.ops.vmops.block_devices import parse_block_devices
from vmops.ops.vmops.shapes import Shape


class ResizeMethods(EngineBase):
    """Resize and cold migration: two calls, then one that confirms or one that reverts."""

    def migrate_disk_and_power_off(
        self,
        context: Any,
        instance: Shape,
        dest: str | None,
        instance_type: Shape,
        *,
        timeout: float = 0,
        retry_interval: float = 0,
    ) -> None:
        """Power off, and change to another size and place.

        ``dest`` is the name of a host, a datastore or a cluster. With None, "", or the endpoint's
        own address, which is what Nova gives, the instance stays where it is. The guest may take
        ``timeout`` seconds to shut down, looked at every ``retry_interval``;
        see `vmops.ops.resize.begin.migrate_disk_and_power_off` for the steps.
        """
        request = ResizeRequest(
            flavor=shapes.parse_flavor(instance_type),
            dest=dest or "",
            patience=Patience(timeout_s=timeout, retry_interval_s=retry_interval),
        )
        tell = self._progress(context, instance)
        self._on(
            instance,
            "resize",
            lambda vm: migrate_disk_and_power_off(self._engine, vm, request, tell),
        )

    def finish_migration(  # noqa: PLR0913, PLR0917 - the signature is Nova's
        self,
        context: Any,
        migration: Shape,
        instance: Shape,
        disk_info: Any,
        network_info: Iterable[Shape] | None,
        image_meta: Shape,
        resize_instance: bool = False,
        block_device_info: Shape = None,
        power_on: bool | None = True,
    ) -> None:
        """Give an instance of a new size its disks and start it; None: if it ran before.

        The ephemeral and swap disks are those of ``block_device_info``, or, where it has none, of
        the flavor; see `vmops.ops.resize.finish.finish_migration`.
        """
        devices, tell = parse_block_devices(block_device_info), self._progress(context, instance)
        self._on(
            instance,
            "finish resize",
            lambda vm: finish_migration(vm, devices, tell, power_on=power_on),
        )

    def confirm_migration(
        self, migration: Shape, instance: Shape, network_info: Iterable[Shape] | None
    ) -> bool:
        """Keep the new size, and say whether there was anything to confirm.

        See `vmops.ops.resize.confirm.confirm_migration`.
        """
        uuid = shapes.instance_uuid(instance)
        with self._alone(uuid, "confirm resize"):
            return confirm_migration(self._session, uuid)

    def finish_revert_migration(
        self,
        instance: Shape,
        network_info: Iterable[Shape] | None,
        block_device_info: Shape = None,
        power_on: bool | None = True,
    ) -> None:
        """Have the old size again, and start; ``power_on`` None: if it runs now.

        See `vmops.ops.resize.revert.finish_revert_migration`.
        """
        self._on(
            instance, "revert resize", lambda vm: finish_revert_migration(vm, power_on=power_on)
        )

    def _progress(self, context: Any, instance: Shape) -> Tell:
        """What tells Nova's compute manager how far an operation is."""
        uuid = shapes.instance_uuid(instance)

        def tell(percent: int) -> None:
            if self._virtapi is not None:
                self._virtapi.instance_update(context, uuid, {"progress": percent})

        return tell
