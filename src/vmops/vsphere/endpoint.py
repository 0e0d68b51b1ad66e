"""What the server is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The server's own words about itself; ``api_type`` is "VirtualCenter" or "HostAgent"."""

    url: str
    host: str
    port: int
    api_type: str
    api_version: str
    product_name: str
    instance_uuid: str

    @property
    def is_vcenter(self) -> bool:
        """Whether it is a vCenter; else it is a single ESXi."""
        return self.api_type == "VirtualCenter"
