"""Which of the programs the lab's guests need are not on this machine, and how to get them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorMissing

_DEBIAN_PACKAGES = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils"}
_PURPOSES = {
    "qemu-system-x86_64": "QEMU is not installed, so no guest can run",
    "qemu-img": "qemu-img is not installed, so disk images cannot be converted",
}
# Debian, Fedora and Arch, in that order.
_EFI_FIRMWARE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
)


def find_program(program: str) -> Path:
    """Return where a program of QEMU is.

    Raises:
        HypervisorMissing: it is not installed; the text says what to install.
    """
    found = _find(program)
    if found is None:
        raise HypervisorMissing(_text(program))
    return found


def find_efi_firmware() -> tuple[Path, Path] | None:
    """Return the files of EFI's code and of its variables as they are at first."""
    for code, variables in _EFI_FIRMWARE:
        if Path(code).is_file() and Path(variables).is_file():
            return Path(code), Path(variables)
    return None


def _find(program: str) -> Path | None:
    found = shutil.which(program, path=os.environ.get("PATH", os.defpath))
    return Path(found).absolute() if found else None


def _text(program: str) -> str:
    return f"{_PURPOSES[program]}: apt-get install {_DEBIAN_PACKAGES[program]}"
