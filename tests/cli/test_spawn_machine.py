"""`vmops spawn` with options for the machine: firmware, allocations, folder, VLAN."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.cli.conftest import Command, spawn
from vmops.lab.server import Lab


@pytest.fixture(scope="module")
def content(lab: Lab) -> Iterator[Any]:
    context = ssl.create_default_context(cafile=lab.certificate_file)
    with second_view.logged_in(lab.url, lab.username, lab.password, context) as logged_in:
        yield logged_in


def made(vmops: Command, content: Any, name: str, *options: str) -> Any:
    """The VM of a spawn with these options."""
    result = spawn(vmops, name, "--no-power-on", *options)
    assert result.code == 0, result.err
    return second_view.vm_of(content, result.out.strip())


def test_the_machine_is_as_the_options_say(vmops: Command, content: Any) -> None:
    vm = made(
        vmops,
        content,
        "machine1",
        *("--firmware", "uefi", "--secure-boot", "--hw-version", "vmx-19"),
        *("--flavor-property", "quota:cpu_limit=900"),
        *("--image-property", "hw_vif_model=vmxnet3", "--folder", "a/b"),
        *("--network", "vmops-test-27,vlan=27"),
    )
    config = second_view.properties(vm, "config")["config"]
    assert (config.firmware, config.version) == ("efi", "vmx-19")
    assert config.bootOptions.efiSecureBootEnabled
    assert config.cpuAllocation.limit == 900
    (card,) = second_view.devices(vm, vim.vm.device.VirtualVmxnet3)
    assert card.backing.deviceName == "vmops-test-27"
    parent = second_view.properties(vm, "parent")["parent"]
    assert second_view.properties(parent, "name")["name"] == "b"


def test_without_options_it_is_the_servers_own(vmops: Command, content: Any) -> None:
    vm = made(vmops, content, "machine2")
    config = second_view.properties(vm, "config")["config"]
    assert (config.firmware, config.cpuAllocation.limit) == ("bios", -1)
    parent = second_view.properties(vm, "parent")["parent"]
    assert second_view.properties(parent, "name")["name"] == "vm"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--secure-boot",), 2, "EFI"),
        (("--tpm", "--firmware", "bios"), 2, "EFI"),
        (("--tpm", "--firmware", "uefi"), 2, "VirtualTPM"),
        (("--hw-version", "19"), 2, "vmx-19"),
        (("--hw-version", "vmx-99"), 2, "vmx-99"),
        (("--storage-policy", "Gold"), 3, "no storage policy 'Gold'"),
        (("--flavor-property", "quota:cpu_limit"), 2, "KEY=VALUE"),
        (("--flavor-property", "quota:cpu_limit=x"), 2, "whole number"),
        (("--flavor-property", "quota:cpu_limt=9"), 2, "Did you mean quota:cpu_limit"),
        (("--flavor-property", "nonsense=1"), 2, "no property 'nonsense'. Known: quota:cpu_res"),
        (("--image-property", "hw_vif_model=ne2000"), 2, "ne2000"),
        (("--image-property", "hw_vif_modle=e1000"), 2, "Did you mean hw_vif_model"),
        (("--image-property", "quota:cpu_limit=9"), 2, "no property 'quota:cpu_limit'"),
        (("--network", "VM Network,vlan=x"), 2, "VLAN"),
        (("--network", "VM Network,vlan=4096"), 2, "4095"),
        (("--network", "VM Network,vlan=5"), 4, "VLAN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_told(
    vmops: Command, content: Any, options: tuple[str, ...], code: int, said: str
) -> None:
    before = second_view.vms(content)
    result = spawn(vmops, "never", *options)
    assert (result.code, said in result.err) == (code, True), result.err
    assert second_view.vms(content) == before
