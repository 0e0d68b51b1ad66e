"""Which hypervisor a lab gets, and what is said if a program is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmops.lab.hypervisor.errors import HypervisorMissing
from vmops.lab.hypervisor.null import NullHypervisor
from vmops.lab.qemu import QemuHypervisor
from vmops.lab.qemu.missing import find_program
from vmops.lab.server import hypervisor_for
from vmops.lab.settings import LabSettings


@pytest.fixture
def without_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_none_needs_no_qemu(tmp_path: Path, without_qemu: None) -> None:
    settings = LabSettings(state_dir=tmp_path, hypervisor="none")
    assert isinstance(hypervisor_for(settings), NullHypervisor)


def test_auto_serves_without_qemu(tmp_path: Path, without_qemu: None) -> None:
    assert isinstance(hypervisor_for(LabSettings(state_dir=tmp_path)), QemuHypervisor)


def test_qemu_asked_for_by_name_must_be_there(tmp_path: Path, without_qemu: None) -> None:
    with pytest.raises(HypervisorMissing, match="apt-get install qemu-system-x86"):
        hypervisor_for(LabSettings(state_dir=tmp_path, hypervisor="qemu"))


@pytest.mark.parametrize(
    ("program", "package"), [("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils")]
)
def test_a_missing_program_is_named_with_its_package(
    without_qemu: None, program: str, package: str
) -> None:
    with pytest.raises(HypervisorMissing, match=f"apt-get install {package}$"):
        find_program(program)
