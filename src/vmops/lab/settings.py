"""What a lab is told when it starts, and where it keeps its things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """How one lab runs. Everything it keeps lies under ``state_dir``."""

    state_dir: Path
    """Created with mode 0700 when the lab starts."""
    esx: bool = False
    """A single ESXi host (``about.apiType`` HostAgent) instead of a vCenter."""
    hypervisor: Literal["auto", "qemu", "none"] = "auto"
    """none: power states change without a guest; qemu: it must be there; auto: it need not."""
    guests_reach_host: bool = False
    """Guests reach what listens on this machine's loopback, the lab itself included. It holds for
    a network from its first guest on until its last is gone."""
    port: int = 0
    """TCP port on 127.0.0.1; 0 chooses one, which a later start of the same state takes again."""
    datastore_capacity_bytes: int | None = None
    """Quota of each datastore; None: what the disk underneath really has."""
    task_delay_s: float = 0.0
    """Every task takes at least this long, so that tests can watch it run."""

    @property
    def user_name(self) -> str:
        """The one account of the lab."""
        return "root" if self.esx else "administrator@vsphere.local"

    @property
    def certificate_file(self) -> Path:
        """The server's self-signed certificate, PEM."""
        return self.state_dir / "certificate.pem"

    @property
    def key_file(self) -> Path:
        """The certificate's private key, PEM, mode 0600."""
        return self.state_dir / "key.pem"

    @property
    def password_file(self) -> Path:
        """The account's password, mode 0600."""
        return self.state_dir / "password"

    @property
    def identity_file(self) -> Path:
        """What stays the same over restarts: port, flavour, instance UUID, socket directory."""
        return self.state_dir / "lab.json"

    @property
    def inventory_file(self) -> Path:
        """The saved inventory."""
        return self.state_dir / "inventory.json"

    @property
    def pid_file(self) -> Path:
        """The background process; locked while it lives."""
        return self.state_dir / "lab.pid"

    @property
    def log_file(self) -> Path:
        """Where the background process writes its log."""
        return self.state_dir / "lab.log"

    @property
    def datastores_dir(self) -> Path:
        """Parent of the datastores' root directories."""
        return self.state_dir / "datastores"
