"""What is to be spawned, as the steps of a spawn see it."""

from __future__ import annotations

from dataclasses import dataclass

from vmops.model.image import Image
from vmops.model.instance import Instance, Vif
from vmops.ops.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRequest:
    """What to spawn."""

    instance: Instance
    image: Image
    vifs: tuple[Vif, ...] = ()
    linked_clone: bool | None = None
    """None: the image's property decides, then the engine's setting."""
    power_on: bool = True
    extra_config: tuple[tuple[str, str], ...] = ()


def is_linked_clone(engine: Engine, request: SpawnRequest) -> bool:
    """Whether the root disk is a linked clone: the request decides, the image, the settings."""
    for choice in (request.linked_clone, request.image.properties.linked_clone):
        if choice is not None:
            return choice
    return engine.settings.linked_clone
