"""The inventory folders that new machines are put in: one for each project, as Nova has them.

``OpenStack/Project (<project id>)/Instances`` below the datacenter's VM folder, or below the folder
of the settings, made level by level when they are first needed. They stay, as the image cache does:
other instances are put there at the same time. A single ESXi has no folders.
"""

from __future__ import annotations

import threading

from vmops.ops.engine.settings import EngineSettings
from vmops.vsphere.live.records import DatacenterInfo
from vmops.vsphere.objects.folder import Folder
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref, moid

_ROOT, _LEAF = "OpenStack", "Instances"

Path = tuple[str, ...]


class ProjectFolders:
    """Finds and makes the folders, each once for all threads."""

    def __init__(self, session: Session, settings: EngineSettings) -> None:
        self._session = session
        self._below = tuple(part for part in settings.vm_folder.split("/") if part)
        self._by_project = settings.project_folders
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Path], Moref] = {}

    def of(self, datacenter: DatacenterInfo, project_id: str) -> Folder:
        """The folder for a project's machines; it costs a call for each level that is made.

        Raises:
            DuplicateName: something that is no folder has the name of a level.
            NoPermission: a level is missing, and the user may not make folders.
        """
        path = self._path(project_id)
        if not path or not self._session.is_vcenter:
            return Folder(self._session, datacenter.vm_folder)
        with self._lock:
            key = (datacenter.moid, path)
            if key not in self._known:
                self._known[key] = self._walk(datacenter.vm_folder, path)
            return Folder(self._session, self._known[key])

    def after_loss(
        self, datacenter: DatacenterInfo, project_id: str, gone: Folder
    ) -> Folder | None:
        """The same after ``gone`` turned out to be gone, None if that is not made here.

        The inventory may not have heard of it yet: each level is asked of the server itself.

        Raises:
            DuplicateName, NoPermission: as `of`.
        """
        key = (datacenter.moid, self._path(project_id))
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return None
            if known == gone.moref:
                at = datacenter.vm_folder
                for name in key[1]:
                    at = self._made(at, name)
                self._known[key] = at
            return Folder(self._session, self._known[key])

    def _path(self, project_id: str) -> Path:
        levels = (_ROOT, f"Project ({project_id})", _LEAF)
        return (*self._below, *(levels if self._by_project and project_id else ()))

    def _walk(self, root: Moref, path: Path) -> Moref:
        inventory, at = self._session.inventory, root
        for name in path:
            there = inventory.folder(moid(at), name)
            at = there if there is not None else self._made(at, name)
        return at

    def _made(self, parent: Moref, name: str) -> Moref:
        return Folder(self._session, parent).create_folder(name).moref
