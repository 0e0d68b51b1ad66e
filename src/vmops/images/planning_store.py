"""The image store of a session that plans: images are read, and none is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from vmops.images.directory_store import DirectoryImageStore
from vmops.images.inspection import ImageFacts
from vmops.model.image import Image, ImageProperties
from vmops.vsphere.planning.plan import Plan, PlannedCall


class PlanningImageStore(DirectoryImageStore):
    """A directory's images; what would be stored or removed is recorded in a plan."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        super().__init__(directory)
        self._plan = plan

    def remove(self, name_or_id: str) -> None:
        """See `DirectoryImageStore.remove`."""
        image = self.get(name_or_id)
        self._plan.record(PlannedCall(method="remove", target=f"image {image.name}"))

    def _store(
        self, name: str, blocks: Iterable[bytes], facts: ImageFacts, properties: Mapping[str, str]
    ) -> Image:
        disk_type = facts.disk_type
        found = ImageProperties.from_mapping({**properties, "vmware_disktype": disk_type.value})
        for _ in blocks:  # whoever gives them may have something to do for it
            pass
        self._plan.record(
            PlannedCall(
                method="store",
                target=f"image {name}",
                arguments={"disk_type": disk_type.value, "properties": dict(properties)},
                note="in the image store of this machine",
            )
        )
        return Image(id="planned-image", name=name, size_bytes=0, properties=found)
