"""The engine's settings. Nothing below the entry points reads configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How instances are built and waited for. Times are seconds."""

    linked_clone: bool = True
    """Root disks are linked clones of the cached image, unless the image says otherwise."""
    cache_folder: str = "vmops_base"
    """The folder on each datastore that holds cached images."""
    cache_lock_dir: Path | None = None
    """Where processes on this machine agree who fills a cache entry; None: threads only."""
    datastore: str | None = None
    """The one datastore to use; None: the suitable one with most free space."""
    datastore_regex: re.Pattern[str] | None = None
    """Only datastores whose whole name matches may be used."""
    default_network: str | None = None
    console: Literal["auto", "vnc", "webmks"] = "auto"
    """Plain VNC, which ESXi has up to version 6, or WebMKS tickets; auto: by the version."""
    vm_folder: str = ""
    """The inventory folder for new instances, "a/b" below the datacenter's; "": that itself."""
    project_folders: bool = False
    """New instances are put in a folder of their project's; see `engine.project_folders`."""
    managed_by: str = ""
    """The key of the extension that manages new instances, "org.openstack.compute" is Nova's."""
    storage_policy: str = ""
    """The storage policy of new instances whose flavor names none; "": none."""
    vlan_interface: str = "vmnic0"
    """The physical NIC of each host whose switch gets port groups that are made for VLANs."""
    vnc_port: int | None = None
    """The first port for plain VNC of new instances; None: they get no VNC."""
    vnc_port_total: int = 10000
    vnc_password: str = field(default="", repr=False)
    """For plain VNC of new instances; "" gives each one of its own. VNC uses 8 characters."""
    console_delay_s: float = 0.0
    """How long a key is held on a console before it repeats, for slow ones; 0: the server's own."""
    inject_network_info: bool = False
    """New instances are told their addresses before they boot; see `spawn.network_info`."""
    force_config_drive: bool = False
    """Every new instance gets a config drive, unless the call refuses it."""
    emulate_pause: bool = True
    """Pause by suspending with a mark, which vSphere itself cannot; False: refuse to pause."""
    task_deadline_s: float = 3600.0
    """A server task that takes longer is cancelled."""
    serial_log: bool = True
    """New instances write their serial port to ``serial.log`` in their folder."""
    serial_port_service_uri: str = ""
    """The address new instances serve their serial port at, instead of the log; "": none."""
    serial_port_proxy_uri: str = ""
    """The concentrator that stands in for that address, "telnet://host:13370"; "": none."""
    serial_log_dir: Path | None = None
    """Where a concentrator on this machine writes its logs, each named by an instance's UUID."""
    answers: dict[str, str] = field(default_factory=dict)
    """What to answer a machine that asks when it is powered on, by the question's message id:
    {"msg.uuid.altered": "button.uuid.copiedTheVM"}; "" answers nothing. A choice's key, label or
    summary. They come before `vmops.vsphere.objects.questions.DEFAULT_ANSWERS`."""
    extra_config: dict[str, str] = field(default_factory=dict)
    """Keys that every new instance gets in its extraConfig."""
