"""The lab's own guests as images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmops.cli.lab_endpoint import lab_errors
from vmops.cli.terminal import say
from vmops.errors import NotSupported

PROPERTIES = {
    "linux": {
        "vmware_ostype": "debian12_64Guest",
        "vmware_adaptertype": "paraVirtual",
        "hw_vif_model": "vmxnet3",
    },
    "boot-sector": {"vmware_ostype": "otherGuest", "vmware_adaptertype": "ide"},
}


@contextmanager
def guest_image(state_dir: Path, kind: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A guest's image file, there until the context ends, and the properties it needs.

    Raises:
        NotSupported: it cannot be built on this machine; the message says what is missing.
    """
    with lab_errors():
        from vmops.lab.guest import GuestError, build_boot_sector_guest, ensure_guest  # noqa: PLC0415

    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="guest-", dir=state_dir) as scratch:
        try:
            if kind == "linux":
                say("Building a small Linux from Debian packages ...", err=True)
                file = ensure_guest(state_dir)
            else:
                file = build_boot_sector_guest(Path(scratch) / "boot-sector.vmdk")
        except GuestError as failure:
            raise NotSupported(f"The guest cannot be built: {failure}") from failure
        yield file, PROPERTIES[kind]
