"""What the server says of itself: its product, version and kind."""

from __future__ import annotations

from dataclasses import dataclass

from vmops.numbers import whole_number


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
    def identity(self) -> str:
        """What tells it from others, whatever address it was reached by, where it says so."""
        return self.instance_uuid or self.url

    @property
    def is_vcenter(self) -> bool:
        """Whether it is a vCenter; else it is a single ESXi."""
        return self.api_type == "VirtualCenter"

    def speaks(self, *version: int) -> bool:
        """Whether its API is of this version or a later one: ``speaks(6, 7)``.

        What a version has not is left out of a call to it without a word, so ask before.
        """
        return tuple(whole_number(n) or 0 for n in self.api_version.split(".")) >= version
