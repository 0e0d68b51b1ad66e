"""The back ends by name, and whether this machine can have them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.backends import lab, real_vcenter, simulator, vcsim
from tests.backends.backend import Backend
from tests.backends.capabilities import Capability

EVERY_BACK_END = pytest.StashKey[bool]()
"""Whether the contract is collected for back ends that nobody configured, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A back end that can be started.

    ``missing`` names what this machine lacks for it; ``is_configured`` tells whether anybody wants
    it to be tried at all.
    """

    name: str
    lacks: Mapping[Capability, str]
    start: Callable[[], Backend]
    missing: Callable[[], str | None] = lambda: None
    is_configured: Callable[[], bool] = lambda: True
    marker: str | None = None


def _qemu_missing() -> str | None:
    lacking = [
        package
        for program, package in (
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("qemu-img", "qemu-utils"),
        )
        if shutil.which(program) is None
    ]
    return f"guests need: apt-get install {' '.join(lacking)}" if lacking else None


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="lab", lacks=lab.LACKS["lab"], start=lambda: lab.LabBackend("lab")),
        Kind(name="lab-esx", lacks=lab.LACKS["lab-esx"], start=lambda: lab.LabBackend("lab-esx")),
        Kind(
            name="qemu",
            lacks=lab.LACKS["qemu"],
            start=lambda: lab.LabBackend("qemu"),
            missing=_qemu_missing,
            marker="guest",
        ),
        Kind(
            name="vcsim",
            lacks=simulator.LACKS,
            start=simulator.SimulatorBackend,
            missing=vcsim.missing,
            marker="vcsim",
        ),
        Kind(
            name="vcenter",
            lacks=real_vcenter.LACKS,
            start=real_vcenter.VcenterBackend,
            missing=real_vcenter.missing,
            is_configured=real_vcenter.is_configured,
        ),
    )
}
