"""What a virtual machine is made of besides its size: board, firmware, screen.

An image wishes, a flavor allows and wishes; `machine_hardware` brings both together, and refuses
what no machine can be before anything is created. The words are those of Nova's flavors
(``vmware:hw_version``, ``os:secure_boot``) and of Glance's images (``hw_tpm_model``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from vmops import units
from vmops.errors import ImageNotAcceptable, InstanceUnacceptable, Invalid
from vmops.model.topology import CpuTopology
from vmops.numbers import INT_MAX, whole_number

_VERSION = re.compile(r"vmx-([0-9]{1,3})")
# The oldest hardware versions with these devices: vSphere 6.5, and vSphere 6.7.
_FIRST_WITH_SECURE_BOOT = 13
_FIRST_WITH_TPM = 14
# Guests that are hypervisors themselves, by the beginnings of their guest ids.
_HYPERVISORS = ("vmkernel", "windowsHyperVGuest")
_TPM_VERSION = "2.0"


class Firmware(StrEnum):
    """The firmware that starts the guest."""

    BIOS = "bios"
    EFI = "efi"


class SecureBoot(StrEnum):
    """Whether the guest may only boot what is signed; the words are Nova's."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHardware:
    """What an image wishes. ``video_ram_mib`` 0 leaves it to the server."""

    NAMES: ClassVar[tuple[str, ...]] = (
        "os_secure_boot",
        "hw_tpm_model",
        "hw_tpm_version",
        "hw_video_ram",
        *(f"hw_cpu_{word}" for word in ("threads", *CpuTopology.WORDS)),
    )
    """The properties of an image that are read here."""

    secure_boot: SecureBoot | None = None
    tpm: bool = False
    video_ram_mib: int = 0
    topology: CpuTopology = CpuTopology()  # noqa: RUF009 - it is frozen

    @classmethod
    def from_properties(cls, texts: Mapping[str, str]) -> Self:
        """Read ``os_secure_boot``, ``hw_tpm_*``, ``hw_video_ram`` and ``hw_cpu_*``.

        Raises:
            ImageNotAcceptable: a value means nothing.
        """
        return cls(
            secure_boot=_secure_boot(texts, "os_secure_boot", ImageNotAcceptable),
            tpm=_wants_tpm(texts, "hw_tpm_model", "hw_tpm_version", ImageNotAcceptable),
            video_ram_mib=_number(texts, "hw_video_ram", ImageNotAcceptable),
            topology=CpuTopology.from_properties(texts, "hw_cpu_", ImageNotAcceptable),
        )

    def to_properties(self) -> dict[str, str]:
        """The properties that `from_properties` reads the same from."""
        found = {f"hw_cpu_{word}": value for word, value in self.topology.to_words().items()}
        if self.secure_boot is not None:
            found["os_secure_boot"] = self.secure_boot.value
        if self.tpm:
            found["hw_tpm_version"] = _TPM_VERSION
        if self.video_ram_mib:
            found["hw_video_ram"] = str(self.video_ram_mib)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FlavorHardware:
    """What a flavor wishes and allows.

    ``version`` "" is the server's newest, ``video_ram_max_mib`` 0 lets no image choose, and
    ``nested_virtualization`` None goes by the guest.
    """

    version: str = ""
    secure_boot: SecureBoot | None = None
    tpm: bool = False
    video_ram_max_mib: int = 0
    nested_virtualization: bool | None = None

    @classmethod
    def from_extra_specs(cls, specs: Mapping[str, str]) -> Self:
        """Read ``vmware:hw_version``, ``os:secure_boot``, ``hw:tpm_*`` and the like.

        Raises:
            InstanceUnacceptable: a value means nothing.
        """
        nested = specs.get("vmware:hv_enabled", "").strip().lower()
        if nested not in {"", "true", "false"}:
            raise InstanceUnacceptable(f"vmware:hv_enabled is {nested!r}; it takes true or false.")
        return cls(
            version=hardware_version(specs.get("vmware:hw_version", "")),
            secure_boot=_secure_boot(specs, "os:secure_boot", InstanceUnacceptable),
            tpm=_wants_tpm(specs, "hw:tpm_model", "hw:tpm_version", InstanceUnacceptable),
            video_ram_max_mib=_number(specs, "hw_video:ram_max_mb", InstanceUnacceptable),
            nested_virtualization=nested == "true" if nested else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a virtual machine is made of; "" and 0 leave it to the server."""

    version: str = ""
    firmware: Firmware = Firmware.BIOS
    secure_boot: bool = False
    tpm: bool = False
    video_ram_kib: int = 0
    nested_virtualization: bool = False


def machine_hardware(
    flavor: FlavorHardware, image: ImageHardware, firmware: Firmware, guest_id: str
) -> Hardware:
    """Bring a flavor and an image together.

    Raises:
        InstanceUnacceptable: they contradict each other, or no machine can be so.
    """
    hardware = Hardware(
        version=flavor.version,
        firmware=firmware,
        secure_boot=_is_secure(flavor.secure_boot, image.secure_boot, firmware),
        tpm=flavor.tpm or image.tpm,
        video_ram_kib=_video_ram_kib(flavor, image),
        nested_virtualization=guest_id.startswith(_HYPERVISORS)
        if flavor.nested_virtualization is None
        else flavor.nested_virtualization,
    )
    if hardware.tpm and firmware is not Firmware.EFI:
        raise InstanceUnacceptable(
            "A virtual TPM needs EFI firmware: the image's hw_firmware_type must be uefi."
        )
    for what, wanted, first in (
        ("Secure boot", hardware.secure_boot, _FIRST_WITH_SECURE_BOOT),
        ("A virtual TPM", hardware.tpm, _FIRST_WITH_TPM),
    ):
        if wanted and hardware.version and int(hardware.version[4:]) < first:
            raise InstanceUnacceptable(
                f"{what} needs hardware version vmx-{first}, and the flavor's is"
                f" {hardware.version}."
            )
    return hardware


def hardware_version(text: str) -> str:
    """A hardware version as the server writes it, "vmx-09"; "" for "".

    Raises:
        InstanceUnacceptable: it is no such word.
    """
    if not text:
        return ""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise InstanceUnacceptable(
            f"vmware:hw_version is {text!r}; it takes a word such as vmx-19."
        )
    return f"vmx-{int(found[1]):02d}"


def _is_secure(flavor: SecureBoot | None, image: SecureBoot | None, firmware: Firmware) -> bool:
    wanted = {flavor, image}
    if {SecureBoot.REQUIRED, SecureBoot.DISABLED} <= wanted:
        raise InstanceUnacceptable(
            "Of flavor and image one requires secure boot and the other disables it."
        )
    if SecureBoot.REQUIRED in wanted:
        if firmware is not Firmware.EFI:
            raise InstanceUnacceptable(
                "Secure boot needs EFI firmware: the image's hw_firmware_type must be uefi."
            )
        return True
    optional = SecureBoot.OPTIONAL in wanted and SecureBoot.DISABLED not in wanted
    return optional and firmware is Firmware.EFI


def _video_ram_kib(flavor: FlavorHardware, image: ImageHardware) -> int:
    if image.video_ram_mib > flavor.video_ram_max_mib:
        raise InstanceUnacceptable(
            f"The image asks for {image.video_ram_mib} MiB of video memory; the flavor's"
            f" hw_video:ram_max_mb allows {flavor.video_ram_max_mib} MiB."
        )
    return units.mib_to_kib(image.video_ram_mib)


def _secure_boot(texts: Mapping[str, str], key: str, wrong: type[Invalid]) -> SecureBoot | None:
    text = texts.get(key, "").strip().lower()
    if not text:
        return None
    if text not in set(SecureBoot):
        raise wrong(f"{key} is {text!r}; it takes one of {', '.join(SecureBoot)}.")
    return SecureBoot(text)


def _wants_tpm(
    texts: Mapping[str, str], model_key: str, version_key: str, wrong: type[Invalid]
) -> bool:
    """Any model counts: vSphere has one kind, which is of version 2.0."""
    version = texts.get(version_key, "").strip()
    if version not in {"", _TPM_VERSION}:
        raise wrong(f"{version_key} is {version!r}; vSphere's TPM has version {_TPM_VERSION}.")
    return bool(version or texts.get(model_key, "").strip())


def _number(texts: Mapping[str, str], key: str, wrong: type[Invalid]) -> int:
    text = texts.get(key, "").strip()
    number = whole_number(text or "0", INT_MAX)
    if number is None:
        raise wrong(f"{key} is {text[:40]!r}; it takes a whole number up to {INT_MAX}.")
    return number
