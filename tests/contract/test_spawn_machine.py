"""What flavor and image make of a new machine besides its disks, in Nova's words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pyVmomi import vim

import vmops
from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import MEMORY_MIB, a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import InstanceUnacceptable, NotSupported, UnsupportedDevice

DEVICE = vim.vm.device
UEFI = {"hw_firmware_type": "uefi"}


class Context:
    """A request context of Nova's shape."""

    user_id = "u-1"
    user_name = "alice"
    project_id = "p-1"
    project_name = "web"


def asked_for(
    specs: dict[str, str] | None = None, vcpus: int = 1, **changes: Any
) -> dict[str, Any]:
    """An instance of Nova's shape whose flavor has these extra specs."""
    flavor = {
        "name": "m1.tiny",
        "vcpus": vcpus,
        "memory_mb": MEMORY_MIB,
        "root_gb": 0,
        "extra_specs": specs or {},
    }
    return {"uuid": a_uuid(), "display_name": "vmops-test", "flavor": flavor} | changes


def spawn(
    bench: Bench,
    specs: dict[str, str] | None = None,
    image: dict[str, str] | None = None,
    vifs: Any = None,
    vcpus: int = 1,
) -> Any:
    """The VM of an instance of that flavor and of an image with these properties."""
    instance = asked_for(specs, vcpus)
    meta = {"id": "flat", "properties": image or {}}
    bench.ops.spawn(Context(), instance, meta, vifs, power_on=False)
    return bench.vm(instance["uuid"])


def read(vm: Any, path: str) -> Any:
    return second_view.properties(vm, path).get(path)


# Hardware


def test_without_a_wish_the_server_chooses_the_hardware_version(bench: Bench) -> None:
    assert str(read(spawn(bench), "config.version")).startswith("vmx-")


def test_the_flavor_says_the_hardware_version(bench: Bench) -> None:
    assert read(spawn(bench, {"vmware:hw_version": "vmx-13"}), "config.version") == "vmx-13"


@pytest.mark.parametrize("word", ["13", "vmx13", "vmx-", "vmx-13.1", "latest"])
def test_a_hardware_version_that_is_none_is_refused_without_a_call(bench: Bench, word: str) -> None:
    bench.session.inventory.wait_fresh()
    before, calls = bench.world(), bench.session.counts
    with pytest.raises(InstanceUnacceptable, match="hw_version"):
        spawn(bench, {"vmware:hw_version": word})
    assert bench.world() == before
    changed = bench.session.counts - calls
    assert not changed.keys() - {"WaitForUpdatesEx"}


def test_a_hardware_version_that_the_hosts_do_not_know_is_refused_before_anything(
    bench: Bench,
) -> None:
    before = bench.world()
    with pytest.raises(InstanceUnacceptable, match="vmx-13") as refused:
        spawn(bench, {"vmware:hw_version": "vmx-99"})
    assert "vmx-99" in str(refused.value)
    assert bench.world() == before
    assert ("spawn", "Create the VM") not in bench.steps()


def test_the_image_says_the_firmware_and_flavor_or_image_secure_boot(bench: Bench) -> None:
    vm = spawn(bench, {"os:secure_boot": "required"}, UEFI)
    assert read(vm, "config.firmware") == "efi"
    assert read(vm, "config.bootOptions.efiSecureBootEnabled") is True
    vm = spawn(bench, None, {**UEFI, "os_secure_boot": "required"})
    assert read(vm, "config.bootOptions.efiSecureBootEnabled") is True
    vm = spawn(bench, None, UEFI)
    assert not read(vm, "config.bootOptions.efiSecureBootEnabled")


def test_optional_secure_boot_is_on_where_it_can_be(bench: Bench) -> None:
    wish = {"os:secure_boot": "optional"}
    assert read(spawn(bench, wish, UEFI), "config.bootOptions.efiSecureBootEnabled") is True
    assert not read(spawn(bench, wish), "config.bootOptions.efiSecureBootEnabled")


@pytest.mark.parametrize(
    ("specs", "image", "says"),
    [
        ({"os:secure_boot": "required"}, {}, "EFI"),
        ({}, {"os_secure_boot": "required", "hw_firmware_type": "bios"}, "EFI"),
        ({"os:secure_boot": "disabled"}, {**UEFI, "os_secure_boot": "required"}, "disables"),
        ({"os:secure_boot": "required", "vmware:hw_version": "vmx-12"}, UEFI, "vmx-13"),
        ({"os:secure_boot": "perhaps"}, UEFI, "perhaps"),
        ({}, {"hw_tpm_model": "tpm-crb"}, "EFI"),
        ({"hw:tpm_version": "2.0"}, {}, "EFI"),
        ({"hw:tpm_version": "1.2"}, UEFI, "1.2"),
        ({"vmware:hw_version": "vmx-13"}, {**UEFI, "hw_tpm_version": "2.0"}, "vmx-14"),
        ({}, {"hw_video_ram": "16"}, "ram_max_mb"),
        ({"hw_video:ram_max_mb": "8"}, {"hw_video_ram": "16"}, "8 MiB"),
        ({"vmware:hv_enabled": "maybe"}, {}, "hv_enabled"),
        ({"quota:disk_io_shares_level": "high", "quota:disk_io_shares_share": "5"}, {}, "custom"),
        ({"quota:vif_shares_level": "custom"}, {}, "custom"),
        ({"quota:vif_shares_level": "urgent"}, {}, "urgent"),
        ({"quota:disk_io_limit": "many"}, {}, "many"),
        ({"quota:vif_limit": "5", "quota:vif_reservation": "9"}, {}, "9"),
    ],
    ids=lambda value: (
        " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None
    ),
)
def test_what_no_machine_can_be_is_refused_before_anything(
    bench: Bench, specs: dict[str, str], image: dict[str, str], says: str
) -> None:
    before = bench.world()
    with pytest.raises(InstanceUnacceptable, match=says):
        spawn(bench, specs, image)
    assert bench.world() == before


@needs(Capability.TPM)
def test_a_tpm_is_there(bench: Bench) -> None:
    vm = spawn(bench, None, {**UEFI, "hw_tpm_model": "tpm-crb"})
    (tpm,) = second_view.devices(vm, DEVICE.VirtualTPM)
    assert tpm.key > 0


def test_a_tpm_that_the_server_has_not_is_a_clear_error_and_nothing_is_left(bench: Bench) -> None:
    if Capability.TPM not in bench.backend.lacks:
        pytest.skip("it has one")
    before = bench.world()
    with pytest.raises((UnsupportedDevice, NotSupported), match="TPM"):
        spawn(bench, None, {**UEFI, "hw_tpm_model": "tpm-crb"})
    assert bench.world() == before


def test_the_image_wishes_video_memory_up_to_what_the_flavor_allows(bench: Bench) -> None:
    vm = spawn(bench, {"hw_video:ram_max_mb": "32"}, {"hw_video_ram": "16"})
    cards = second_view.devices(vm, DEVICE.VirtualVideoCard)
    assert cards[-1].videoRamSizeInKB == 16 * 1024


def test_a_hypervisor_may_run_machines_itself(bench: Bench) -> None:
    assert read(spawn(bench, {"vmware:hv_enabled": "true"}), "config.nestedHVEnabled") is True
    assert read(spawn(bench, None, {"vmware_ostype": "vmkernel7Guest"}), "config.nestedHVEnabled")
    assert not read(spawn(bench), "config.nestedHVEnabled")


@pytest.mark.parametrize(
    ("specs", "image", "cores"),
    [
        ({"hw:cpu_cores": "2"}, {}, 2),
        ({"hw:cpu_sockets": "1"}, {}, 4),
        ({"hw:cpu_cores": "2"}, {"hw_cpu_cores": "4"}, 4),
        ({}, {"hw_cpu_sockets": "2"}, 2),
        ({"hw:cpu_max_sockets": "2"}, {}, 2),
        ({"hw:cpu_cores": "4"}, {"hw_cpu_max_cores": "2"}, 1),
        ({"hw:cpu_max_sockets": "4"}, {"hw_cpu_max_sockets": "2"}, 2),
        ({"hw:cpu_cores": "1"}, {"hw_cpu_max_sockets": "2"}, 2),
    ],
    ids=str,
)
def test_cores_per_socket_are_those_of_flavor_and_image(
    bench: Bench, specs: dict[str, str], image: dict[str, str], cores: int
) -> None:
    vm = spawn(bench, specs, image, vcpus=4)
    assert read(vm, "config.hardware.numCPU") == 4
    assert read(vm, "config.hardware.numCoresPerSocket") == cores


@pytest.mark.parametrize(
    ("specs", "image"),
    [
        ({"hw:cpu_max_cores": "2"}, {"hw_cpu_cores": "4"}),
        ({"hw:cpu_max_sockets": "2"}, {"hw_cpu_max_sockets": "3"}),
        ({}, {"hw_cpu_sockets": "3"}),
        ({"hw:cpu_max_sockets": "1", "hw:cpu_max_cores": "2"}, {}),
    ],
    ids=str,
)
def test_sockets_that_cannot_be_are_refused(
    bench: Bench, specs: dict[str, str], image: dict[str, str]
) -> None:
    before = bench.world()
    with pytest.raises(InstanceUnacceptable):
        spawn(bench, specs, image, vcpus=4)
    assert bench.world() == before


def test_keys_on_slow_consoles_repeat_later(bench: Bench) -> None:
    key = "keyboard.typematicMinDelay"
    slow = bench.spawn(ops=bench.engine(console_delay_s=1.5), power_on=False)
    assert second_view.extra_config(bench.vm(slow))[key] == "1500000"
    assert key not in second_view.extra_config(bench.vm(bench.spawn(power_on=False)))


# Allocations


def test_the_root_disk_is_allocated_what_the_flavor_says(bench: Bench) -> None:
    vm = spawn(
        bench,
        {
            "quota:disk_io_limit": "500",
            "quota:disk_io_reservation": "100",
            "quota:disk_io_shares_level": "custom",
            "quota:disk_io_shares_share": "700",
        },
    )
    (disk,) = second_view.devices(vm, DEVICE.VirtualDisk)
    allocated = disk.storageIOAllocation
    assert (allocated.limit, allocated.reservation) == (500, 100)
    assert (allocated.shares.level, allocated.shares.shares) == ("custom", 700)


def test_every_nic_is_allocated_what_the_flavor_says(bench: Bench) -> None:
    specs = {
        "quota:vif_limit": "100",
        "quota:vif_reservation": "20",
        "quota:vif_shares_level": "high",
    }
    network = {"bridge": bench.backend.network}
    macs = ("00:50:56:3f:00:11", "00:50:56:3f:00:12")
    vm = spawn(bench, specs, None, [{"network": network, "address": mac} for mac in macs])
    cards = second_view.devices(vm, DEVICE.VirtualEthernetCard)
    assert [card.macAddress for card in cards] == list(macs)
    for card in cards:
        allocated = card.resourceAllocation
        assert (allocated.limit, allocated.reservation, allocated.share.level) == (100, 20, "high")


def test_processors_and_memory_are_allocated_what_the_flavor_says(bench: Bench) -> None:
    vm = spawn(
        bench,
        {
            "quota:cpu_limit": "900",
            "quota:cpu_reservation": "300",
            "quota:memory_limit": "12",
            "quota:memory_shares_level": "low",
        },
    )
    cpu, memory = read(vm, "config.cpuAllocation"), read(vm, "config.memoryAllocation")
    assert (cpu.limit, cpu.reservation) == (900, 300)
    assert (memory.limit, memory.shares.level) == (12, "low")


def test_a_limit_of_nothing_is_no_limit(bench: Bench) -> None:
    assert read(spawn(bench, {"quota:cpu_limit": "0"}), "config.cpuAllocation").limit == -1


# Notes


def test_the_notes_say_whose_it_is_and_what_it_is_made_of(bench: Bench) -> None:
    notes = str(read(spawn(bench), "config.annotation"))
    image = bench.images.store.get("flat")
    assert dict(line.rsplit(":", 1) for line in notes.splitlines()) == {
        "name": "vmops-test",
        "userid": "u-1",
        "username": "alice",
        "projectid": "p-1",
        "projectname": "web",
        "flavor:name": "m1.tiny",
        "flavor:memory_mb": str(MEMORY_MIB),
        "flavor:vcpus": "1",
        "flavor:ephemeral_gb": "0",
        "flavor:root_gb": "0",
        "flavor:swap": "0",
        "imageid": image.id,
        "package": f"vmops {vmops.__version__}",
    }


def test_a_name_cannot_pass_for_another_line_of_the_notes(bench: Bench) -> None:
    instance = asked_for(display_name="x\nprojectid:admin")
    bench.ops.spawn(None, instance, "flat", None, power_on=False)
    notes = str(read(bench.vm(instance["uuid"]), "config.annotation"))
    assert "name:x projectid:admin\n" in notes
    assert "\nprojectid:\n" in notes


@needs(Capability.COUNTED_CALLS)
def test_wishes_and_allocations_cost_no_call(bench: Bench) -> None:
    bench.spawn()  # the image is there afterwards
    plain = bench.calls_of(lambda: bench.spawn(power_on=False))
    specs = {
        "os:secure_boot": "optional",
        "hw_video:ram_max_mb": "32",
        "quota:disk_io_limit": "500",
        "quota:vif_limit": "100",
        "quota:cpu_limit": "900",
    }
    image = {**UEFI, "hw_video_ram": "16", "hw_cpu_cores": "2"}
    vifs = [{"network": {"bridge": bench.backend.network}}]
    instance, meta = asked_for(specs, vcpus=2), {"id": "flat", "properties": image}
    asked = bench.calls_of(lambda: bench.ops.spawn(Context(), instance, meta, vifs, power_on=False))
    assert asked - plain == Counter()
