"""The note of a rescue: what unrescue needs to know, in the VM's ``extraConfig``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from vmops.model import extra_config


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueNote:
    """Kept from before the first change until all is put back."""

    disk: str
    """The rescue disk's datastore path; "" if it boots from an ISO image."""
    iso: str = ""
    drives: tuple[int, ...] = ()
    """The keys of the drives that it had before."""
    boot_order: tuple[str | int, ...] = ()
    efi_quick_boot: str = ""
    was_on: bool = True

    def dump(self) -> str:
        """The text that stands in ``extraConfig``."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """The note that such a text holds."""
        values = json.loads(text)
        lists = {name: tuple(values.get(name, ())) for name in ("boot_order", "drives")}
        return cls(**{**values, **lists})


def find_note(settings: Mapping[str, str]) -> RescueNote | None:
    """The note in a VM's ``extraConfig``; None if it is not rescued."""
    text = settings.get(extra_config.RESCUE)
    return RescueNote.load(text) if text else None
