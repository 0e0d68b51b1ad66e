"""The part of `VMwareVMOps` that attaches volumes and takes them off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from vmops.ops.vmops import shapes
from vmops.ops.vmops.base import EngineBase
from vmops.ops.vmops.shapes import Shape
from vmops.ops.vmops.volumeops import VMwareVolumeOps
from vmops.ops.volumes import made
from vmops.ops.volumes.made import MadeVolume, WantedVolume


class VolumeMethods(EngineBase):
    """Volumes, which come and go while the instance runs."""

    @property
    def volumeops(self) -> Any:
        """What attaches volumes: the object that the engine was given, or ours on its session.

        Ours knows what the engine does with an instance at the moment: one operation at a time.
        """
        if self._volumeops is None:
            return VMwareVolumeOps(
                self._session, locks=self._locks, observe=self._observe, config=self._settings
            )
        return self._volumeops

    def attach_volume(
        self,
        context: Any,
        connection_info: Shape,
        instance: Shape,
        mountpoint: str | None = None,
        disk_bus: object = None,
    ) -> None:
        """Attach a volume; see `vmops.ops.volumes.attach.attach_volume`.

        ``disk_bus`` None takes the connection's, else that of the instance's first disk. vSphere
        has no device names: ``mountpoint`` says nothing.
        """
        with self._lock_for_others(instance, "attach volume"):
            self.volumeops.attach_volume(connection_info, instance, disk_bus)

    def detach_volume(
        self, context: Any, connection_info: Shape, instance: Shape, mountpoint: str | None = None
    ) -> None:
        """Take a volume off; see `vmops.ops.volumes.detach.detach_volume`."""
        with self._lock_for_others(instance, "detach volume"):
            self.volumeops.detach_volume(connection_info, instance)

    def create_volume(self, wanted: WantedVolume) -> MadeVolume:
        """Make an empty volume; see `vmops.ops.volumes.made.create_volume`."""
        with self._operation("create_volume"):
            return made.create_volume(self._engine, wanted)

    def list_volumes(self) -> tuple[MadeVolume, ...]:
        """The volumes that need no volume service; see `vmops.ops.volumes.made.list_volumes`."""
        with self._operation("list_volumes"):
            return made.list_volumes(self._session)

    def find_volume(self, name_or_id: str) -> MadeVolume:
        """One of them; see `vmops.ops.volumes.made.find_volume`."""
        with self._operation("find_volume"):
            return made.find_volume(self._session, name_or_id)

    def delete_volume(self, name_or_id: str) -> None:
        """Delete one of them; see `vmops.ops.volumes.made.delete_volume`."""
        with self._operation("delete_volume"):
            made.delete_volume(self._session, name_or_id)

    @contextlib.contextmanager
    def _lock_for_others(self, instance: Shape, purpose: str) -> Iterator[None]:
        """The engine's lock, unless ours takes it: another object does not know of it."""
        if self._volumeops is None:
            yield
            return
        uuid = shapes.instance_uuid(instance)
        with self._alone(uuid, purpose):
            yield
