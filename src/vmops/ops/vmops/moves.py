"""The methods of `VMwareVMOps` that take an instance elsewhere: to an image, to another host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmops.ops.instances.live_migration import live_migration
from vmops.ops.instances.snapshot import SnapshotResult, UpdateTaskState, snapshot
from vmops.ops.vmops import shapes
from vmops.ops.vmops.base import EngineBase
from vmops.ops.vmops.shapes import Shape


class MoveMethods(EngineBase):
    """Snapshot to an image, and live migration."""

    def snapshot(
        self, context: Any, instance: Shape, snapshot_name: str, update_task_state: UpdateTaskState
    ) -> SnapshotResult:
        """Make an image of a running instance; see `instances.snapshot.snapshot` for the steps."""
        project_id = str(shapes.field(instance, "project_id", default=""))
        return self._on(
            instance,
            "snapshot",
            lambda vm: snapshot(
                self._engine,
                self._images,
                vm,
                snapshot_name,
                update_task_state,
                project_id=project_id,
            ),
        )

    def live_migration(
        self,
        context: Any,
        instance_ref: Shape,
        dest: str,
        post_method: Callable[..., object],
        recover_method: Callable[..., object],
        block_migration: bool = False,
    ) -> None:
        """Move a running instance to the host ``dest``.

        Both callbacks take (context, instance, dest, block_migration); see
        `vmops.ops.instances.live_migration.live_migration` for the steps and when they are called.
        """
        told = (context, instance_ref, dest, block_migration)
        self._on(
            instance_ref,
            "live migration",
            lambda vm: live_migration(
                self._engine,
                vm,
                dest,
                block_migration=block_migration,
                post=lambda: post_method(*told),
                recover=lambda: recover_method(*told),
            ),
        )
