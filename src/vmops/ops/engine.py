"""What operations work with."""

from __future__ import annotations

from dataclasses import dataclass

from vmops.images.cache import ImageCache
from vmops.ops.extension import ManagingExtension
from vmops.ops.placement import Reservations
from vmops.ops.port_groups import PortGroups
from vmops.ops.project_folders import ProjectFolders
from vmops.ops.settings import EngineSettings
from vmops.ops.vnc import VncPorts
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
