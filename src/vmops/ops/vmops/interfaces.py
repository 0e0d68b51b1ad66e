"""The part of `VMwareVMOps` that plugs interfaces and tells the guest its addresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from vmops.model.instance import Vif
from vmops.ops.instances import interfaces
from vmops.ops.spawn.network_info import inject_network_info
from vmops.ops.vmops import shapes
from vmops.ops.vmops.base import EngineBase
from vmops.ops.vmops.shapes import Shape

# An interface that is to go need not say where it is plugged into.
_ANY_NETWORK = "any"


class InterfaceMethods(EngineBase):
    """NICs, which come and go while the instance runs, and their addresses."""

    def plug_vifs(self, instance: Shape, network_info: Iterable[Shape] | None) -> None:
        """Give an instance a NIC for each interface; see `instances.interfaces.plug_vifs`."""
        vifs = self._vifs(instance, network_info)
        self._on(
            instance, "plug interfaces", lambda vm: interfaces.plug_vifs(self._engine, vm, vifs)
        )

    def unplug_vifs(self, instance: Shape, network_info: Iterable[Shape] | None) -> None:
        """Take the NICs of these interfaces out; see `instances.interfaces.unplug_vifs`."""
        vifs = shapes.parse_vifs(network_info, _ANY_NETWORK)
        self._on(
            instance, "unplug interfaces", lambda vm: interfaces.unplug_vifs(self._engine, vm, vifs)
        )

    def attach_interface(
        self, context: Any, instance: Shape, image_meta: Shape, vif: Shape
    ) -> None:
        """Plug one more interface; see `vmops.ops.instances.interfaces.attach_interface`.

        The image's NIC model counts where the interface has none; ``image_meta`` may be None.
        """
        (wanted,) = self._vifs(instance, (vif,))
        if image_meta is not None and wanted.model is None:
            image = shapes.parse_image(image_meta, self._images)
            wanted = replace(wanted, model=image.properties.vif_model)
        self._on(
            instance,
            "attach interface",
            lambda vm: interfaces.attach_interface(self._engine, vm, wanted),
        )

    def detach_interface(self, context: Any, instance: Shape, vif: Shape) -> None:
        """Unplug one interface; see `vmops.ops.instances.interfaces.detach_interface`."""
        (wanted,) = shapes.parse_vifs((vif,), _ANY_NETWORK)
        self._on(
            instance,
            "detach interface",
            lambda vm: interfaces.detach_interface(self._engine, vm, wanted),
        )

    def inject_network_info(self, instance: Shape, network_info: Iterable[Shape] | None) -> None:
        """Tell the guest its addresses; see `vmops.ops.spawn.network_info.inject_network_info`."""
        vifs = self._vifs(instance, network_info)
        name = shapes.host_name(instance)
        self._on(instance, "inject network info", lambda vm: inject_network_info(vm, name, vifs))

    def _vifs(self, instance: Shape, network_info: Iterable[Shape] | None) -> tuple[Vif, ...]:
        default = self._settings.default_network
        return shapes.parse_vifs(network_info, default, shapes.vif_claim(instance))
