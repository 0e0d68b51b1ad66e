"""What a real guest sees of its machine: the firmware that boots it, its sockets and cores."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import Bench
from tests.contract.linux_guest import MEMORY_MIB, LinuxGuest
from tests.contract.needs import needs
from tests.guests.plain_qemu import linux_guest, unpack
from tests.lab.qemu.efi_guest import efi_bootable, linux_by_efi
from vmops import Flavor, Instance
from vmops.lab.qemu import missing

pytestmark = needs(Capability.GUEST)

EFI_SECONDS = 200.0
ADAPTERS = {
    "lsiLogic": vim.vm.device.VirtualLsiLogicController,
    "paraVirtual": vim.vm.device.ParaVirtualSCSIController,
}


def require_efi() -> None:
    if not any(Path(code).is_file() for code, _ in missing._EFI_FIRMWARE):
        pytest.skip("no EFI firmware (Debian: ovmf)")


@pytest.mark.parametrize("adapter", ["ide", "lsiLogic", "paraVirtual"])
def test_an_efi_image_boots_by_efi_firmware(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, adapter: str
) -> None:
    """The disk has nothing that a BIOS could start: only an EFI program that counts."""
    require_efi()
    disk = efi_bootable(tmp_path_factory.mktemp("efi") / "efi.img")
    image = bench.images.add(
        f"efi-{adapter}", disk, hw_firmware_type="uefi", vmware_adaptertype=adapter
    )
    uuid = a_uuid()
    instance = Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=Flavor(memory_mib=128))
    bench.spawn(image, instance=instance, linked_clone=False)
    found = second_view.properties(bench.vm(instance), "config.firmware")
    assert found["config.firmware"] == "efi"
    bench.serial(instance).wait_for("T00000003", EFI_SECONDS)


@pytest.mark.parametrize("adapter", ["lsiLogic", "paraVirtual"])
def test_an_efi_linux_finds_its_root_behind_the_usual_adapters(
    bench: Bench, tmp_path: Path, adapter: str
) -> None:
    """The firmware reads the kernel from the disk, and the kernel its root."""
    require_efi()
    disk = linux_by_efi(unpack(linux_guest(), tmp_path / "linux.raw"))
    image = bench.images.add(
        f"efi-linux-{adapter}", disk, flat=True, hw_firmware_type="uefi", vmware_adaptertype=adapter
    )
    uuid = a_uuid()
    instance = Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=Flavor(memory_mib=192))
    bench.spawn(image, instance=instance, linked_clone=False)
    (controller,) = second_view.devices(bench.vm(instance), vim.vm.device.VirtualSCSIController)
    assert type(controller) is ADAPTERS[adapter]
    LinuxGuest(bench, instance).wait_for(r"vmops-guest: boot 1\r\n", seconds=EFI_SECONDS)


def test_a_guest_has_the_sockets_and_cores_of_its_flavor(bench: Bench) -> None:
    uuid = a_uuid()
    instance = Instance(
        uuid=uuid,
        name=f"vmops-test-{uuid[:13]}",
        flavor=Flavor(vcpus=4, memory_mib=MEMORY_MIB, cores_per_socket=2),
    )
    guest = LinuxGuest.spawn(bench, instance)
    guest.wait_for_login()
    told = guest.tell("cat /sys/devices/system/cpu/cpu*/topology/physical_package_id")
    sockets = told.split()
    assert sorted(sockets.count(each) for each in set(sockets)) == [2, 2]
