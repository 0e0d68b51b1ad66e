"""The session, settings and shared state that every operation gets."""

from __future__ import annotations

from dataclasses import dataclass

from vmops.images.cache import ImageCache
from vmops.ops.engine.extension import ManagingExtension
from vmops.ops.engine.placement import Reservations
from vmops.ops.engine.port_groups import PortGroups
from vmops.ops.engine.project_folders import ProjectFolders
from vmops.ops.engine.settings import EngineSettings
from vmops.ops.engine.vnc import VncPorts
from vmops.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What operations work with."""

    session: Session
    cache: ImageCache
    settings: EngineSettings
    reservations: Reservations
    vnc_ports: VncPorts
    folders: ProjectFolders
    extension: ManagingExtension
    port_groups: PortGroups
    cluster_name: str | None
