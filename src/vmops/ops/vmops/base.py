"""What the engine's methods share: what it was given, and one operation at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from vmops.context import operation
from vmops.errors import ImageNotFound, NotSupported
from vmops.images.cache import ImageCache
from vmops.images.store import ImageStore
from vmops.model.image import Image
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.extension import ManagingExtension
from vmops.ops.engine.placement import Reservations
from vmops.ops.engine.port_groups import PortGroups
from vmops.ops.engine.project_folders import ProjectFolders
from vmops.ops.engine.settings import EngineSettings
from vmops.ops.engine.vnc import VncPorts
from vmops.ops.guard.exclusive import alone, instance_locks
from vmops.ops.vmops import shapes
from vmops.ops.vmops.shapes import Shape
from vmops.progress import Observer, log_event
from vmops.vsphere.objects.lookup import with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

T = TypeVar("T")


class _NoImages:
    """The store of an engine that was given none."""

    def list(self) -> tuple[Image, ...]:
        return ()

    def get(self, name_or_id: str) -> Image:
        raise ImageNotFound(name_or_id)

    def open(self, image: Image) -> Any:
        raise ImageNotFound(image.name)

    def refuse_taken(self, name: str) -> None:
        raise NotSupported(f"No image store to save {name!r} to: give the engine one (images=).")

    def receive(self, name: str, *_blocks: Any, **_facts: Any) -> Image:
        raise NotSupported(f"No image store to save {name!r} to: give the engine one (images=).")

    def remove(self, name_or_id: str) -> None:
        raise ImageNotFound(name_or_id)


class VirtApi(Protocol):
    """What the engine tells Nova's compute manager while it works."""

    def instance_update(self, context: Any, instance_uuid: str, updates: dict[str, Any]) -> None:
        """Take over ``updates``, such as {"progress": 50}."""


class EngineBase:
    """Holds what the engine was given; its methods are in the classes that inherit from this."""

    def __init__(  # noqa: PLR0913 - the signature is Nova's
        self,
        session: Session,
        virtapi: VirtApi | None = None,
        volumeops: Any = None,
        cluster_name: str | None = None,
        *,
        images: ImageStore | None = None,
        config: EngineSettings | None = None,
        observe: Observer = log_event,
    ) -> None:
        """Keep what is given; nothing is read or called yet.

        ``cluster_name`` None means the only cluster, or the ESXi itself. An unknown one raises
        `ClusterNotFound` when it is first needed.
        """
        self._session = session
        self._virtapi = virtapi
        self._volumeops = volumeops
        self._settings = config or EngineSettings()
        self._observe = observe
        self._images: ImageStore = images or _NoImages()
        self._locks = instance_locks(session)
        self._engine = Engine(
            session=session,
            cache=ImageCache(
                session, self._images, self._settings.cache_folder, self._settings.cache_lock_dir
            ),
            settings=self._settings,
            reservations=Reservations(),
            vnc_ports=VncPorts(session, self._settings),
            folders=ProjectFolders(session, self._settings),
            extension=ManagingExtension(session, self._settings),
            port_groups=PortGroups(session, self._settings),
            cluster_name=cluster_name,
        )

    def _on(
        self,
        instance: Shape,
        purpose: str,
        do: Callable[[VirtualMachine], T],
        *,
        after_same: bool = False,
    ) -> T:
        """Do something with an instance's machine, in an operation of its own."""
        uuid = shapes.instance_uuid(instance)
        with self._alone(uuid, purpose, after_same=after_same):
            return with_vm(self._session, uuid, do)

    @contextlib.contextmanager
    def _alone(self, uuid: str, purpose: str, *, after_same: bool = False) -> Iterator[None]:
        """One operation on one instance, its name on every call to the server.

        With ``after_same`` one of the same purpose is waited for; any other is `Busy`.
        """
        with (
            self._operation(purpose.replace(" ", "_")),
            alone(self._session, self._locks, uuid, purpose, after_same=after_same),
        ):
            yield

    def _operation(self, name: str) -> AbstractContextManager[str]:
        """All that is done inside is told, limited and answered as this engine was told to."""
        return operation(
            name,
            observe=self._observe,
            task_deadline_s=self._settings.task_deadline_s,
            answers=self._settings.answers,
        )
