"""The command line of each kind of machine, whole, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.qemu.machines import PVSCSI, a_disk, a_machine, a_nic
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import (
    Cdrom,
    Controller,
    Disk,
    GuestDefinition,
    NetworkSerialPort,
    SerialPort,
)
from vmops.lab.qemu.accelerator import Accelerator, accelerator
from vmops.lab.qemu.argv import command_line
from vmops.lab.qemu.argv.growth_state import Growth
from vmops.lab.qemu.argv.host import Firmware, Host
from vmops.lab.qemu.argv.ports import guestinfo_keys

GOLDEN = Path(__file__).parent / "golden"
VM = Path("/ds/vm, 1")
IDE = Controller(key=200, bus_number=0, model="VirtualIDEController")
HOST = Host(
    program=Path("/usr/bin/qemu-system-x86_64"),
    accelerator=Accelerator(options=("tcg,tb-size=32",), cpu_model="Nehalem,+rdrand"),
    sandbox="on,spawn=deny",
)


def usual() -> tuple[GuestDefinition, Host]:
    """What spawn makes: a linked clone, a config drive, a card, a log, and guestinfo."""
    machine = a_machine(
        name="web, 1",
        controllers=(PVSCSI, IDE),
        disks=(a_disk(VM / "delta.vmdk", Path("/ds/cache/base-flat.vmdk")),),
        nics=(a_nic(0),),
        cdroms=(Cdrom(key=3000, controller_key=200, unit_number=0, image=VM / "config.iso"),),
        serial_ports=(SerialPort(key=9000, file=VM / "serial.log"),),
        extra_config={"guestinfo.userdata": "hidden", "machine.id": "m", "other": "x"},
    )
    files = {"guestinfo.userdata": Path("/run/guestinfo-0"), "machine.id": Path("/run/guestinfo-1")}
    return machine, replace(HOST, guestinfo_files=files, nic_descriptors={4000: 5})


def old() -> tuple[GuestDefinition, Host]:
    """Controllers and cards of older guests, more processors, CD first."""
    controllers = (
        Controller(key=1000, bus_number=0, model="VirtualLsiLogicController"),
        Controller(key=1001, bus_number=1, model="VirtualLsiLogicSASController"),
        Controller(key=1002, bus_number=2, model="VirtualBusLogicController"),
        replace(IDE, key=201, bus_number=1),
    )
    machine = a_machine(
        cpus=4,
        cores_per_socket=2,
        memory_mib=512,
        controllers=controllers,
        disks=(
            a_disk(VM / "a-flat.vmdk"),
            a_disk(VM / "b-flat.vmdk", key=2016, controller_key=1001, unit=1),
            a_disk(VM / "c-flat.vmdk", key=2032, controller_key=1002, unit=6),
            a_disk(VM / "d-flat.vmdk", key=3001, controller_key=201, unit=1),
        ),
        nics=(
            a_nic(0, model="VirtualE1000"),
            a_nic(1, model="VirtualE1000e"),
            a_nic(2, model="VirtualPCNet32"),
            a_nic(3, model="VirtualVmxnet2"),
        ),
        cdroms=(Cdrom(key=3002, controller_key=201, unit_number=0, image=None),),
        boot_order=(3002, 4001, 9999),
    )
    return machine, replace(HOST, nic_descriptors={4000 + n: 5 + n for n in range(4)})


def modern() -> tuple[GuestDefinition, Host]:
    """EFI, SATA, NVMe, KVM, and memory to go on from. Its SCSI is one that EFI drives."""
    machine = a_machine(
        firmware="efi",
        controllers=(
            PVSCSI,
            Controller(key=15000, bus_number=0, model="VirtualAHCIController"),
            Controller(key=31000, bus_number=0, model="VirtualNVMEController"),
        ),
        disks=(
            replace(a_disk(VM / "a-flat.vmdk", controller_key=15000, unit=3), read_only=True),
            a_disk(VM / "b-flat.vmdk", key=32000, controller_key=31000),
            a_disk(VM / "c-flat.vmdk", key=2001),
        ),
    )
    host = replace(
        HOST,
        accelerator=Accelerator(options=("kvm",), cpu_model="host"),
        sandbox=None,
        machine_type="pc-i440fx-7.2",
        memory_descriptor=4,
        efi=Firmware(code=Path("/share/code.fd"), variables=Path("/run/nvram")),
    )
    return machine, host


def grown() -> tuple[GuestDefinition, Host]:
    """A guest that got processors and memory while it ran, and goes on elsewhere."""
    machine = a_machine(
        cpus=6, cores_per_socket=2, memory_mib=384, cpu_hot_add=True, memory_hot_add=True
    )
    growth = Growth(
        cpus_at_start=2,
        max_cpus=8,
        memory_at_start_kib=131064,
        max_memory_mib=2048,
        cpus=4,
        modules=(128, 128),
    )
    return machine, replace(HOST, growth=growth, memory_descriptor=4)


def seeded() -> tuple[GuestDefinition, Host]:
    """A disc for cloud-init beside the machine's own drive, where that leaves room."""
    machine = a_machine(
        controllers=(replace(IDE, key=201, bus_number=1),),
        cdroms=(Cdrom(key=3001, controller_key=201, unit_number=1, image=VM / "own.iso"),),
    )
    return machine, replace(HOST, seed=Path("/run/seed.iso"))


@pytest.mark.parametrize("example", [usual, old, modern, grown, seeded])
def test_command_line_is_the_golden_one(
    example: Callable[[], tuple[GuestDefinition, Host]],
) -> None:
    machine, host = example()
    text = "".join(f"{argument}\n" for argument in command_line(machine, host))
    golden = GOLDEN / f"{example.__name__}.txt"
    if "VMOPS_UPDATE_GOLDEN" in os.environ:
        golden.write_text(text)
    assert text == golden.read_text()


def test_no_value_for_the_guest_is_in_the_command_line() -> None:
    assert "hidden" not in " ".join(command_line(*usual()))


def test_only_keys_meant_for_the_guest_and_fit_for_a_name_reach_it() -> None:
    keys = ["guestinfo.a-b_c", "machine.id", "machine.idle", "guestinfo./../x", "guestinfo.é", "x"]
    keys += ["guestinfo." + "k" * 31, "guestinfo." + "k" * 32]
    found = guestinfo_keys(a_machine(extra_config=dict.fromkeys(keys, "v")))
    assert found == ("guestinfo.a-b_c", "guestinfo." + "k" * 31, "machine.id")


def test_room_to_grow_is_there_only_where_it_is_enabled() -> None:
    machine = a_machine(cpus=2, memory_mib=64)
    plain = " ".join(command_line(machine, HOST))
    assert "maxcpus" not in plain
    assert "maxmem" not in plain
    grows = " ".join(command_line(replace(machine, cpu_hot_add=True, memory_hot_add=True), HOST))
    assert "-smp 2,maxcpus=8,sockets=8,cores=1" in grows
    assert "slots=32,maxmem=1048576K" in grows


def test_a_board_without_a_free_place_has_no_seed() -> None:
    drives = tuple(
        Cdrom(key=3000 + place, controller_key=200 + place // 2, unit_number=place % 2, image=None)
        for place in range(4)
    )
    channels = (IDE, replace(IDE, key=201, bus_number=1))
    machine = a_machine(controllers=channels, cdroms=drives)
    assert "seed" not in " ".join(command_line(machine, replace(HOST, seed=Path("/run/x.iso"))))


def test_a_card_keeps_its_slot_when_another_goes() -> None:
    both, second = (a_nic(0), a_nic(1)), (a_nic(1),)
    host = replace(HOST, nic_descriptors={4000: 5, 4001: 6})

    def card(nics: tuple[object, ...]) -> str:
        arguments = command_line(a_machine(nics=nics), host)
        return next(a for a in arguments if '"id": "nic-4001"' in a).split('"bootindex"')[0]

    assert card(both) == card(second)


def test_cards_with_unusual_keys_find_a_slot_each() -> None:
    nics = tuple(replace(a_nic(number), key=77 + number) for number in range(10))
    host = replace(HOST, nic_descriptors={nic.key: 5 for nic in nics})
    lines = [a for a in command_line(a_machine(nics=nics), host) if '"id": "nic-' in a]
    slots = {line.split('"addr": ')[1].split(",")[0] for line in lines}
    assert len(slots) == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpus": 3, "cores_per_socket": 2}, "3 processors cannot be divided"),
        ({"cpus": 0}, "1 to 255"),
        ({"bios_uuid": "42"}, "not a BIOS UUID"),
        ({"firmware": "efi"}, "apt-get install ovmf"),
        ({"disks": (a_disk(VM, controller_key=1234),)}, "controller that does not exist"),
        (
            {
                "controllers": (replace(PVSCSI, model="VirtualLsiLogicController"),),
                "disks": (a_disk(VM, unit=8),),
            },
            "unit 8 of a VirtualLsiLogicController",
        ),
        ({"controllers": (replace(IDE, bus_number=2),)}, "2 IDE channels"),
        (
            {"serial_ports": tuple(SerialPort(key=9000 + number, file=VM) for number in range(5))},
            "4 serial ports",
        ),
        (
            {
                "controllers": (PVSCSI,),
                "disks": (Disk(key=1, layers=(), controller_key=1000, unit_number=0, serial=""),),
            },
            "has no file",
        ),
        ({"nics": tuple(a_nic(number) for number in range(40))}, "than slots"),
    ],
)
def test_what_the_lab_cannot_provide_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(HypervisorError, match=words):
        command_line(a_machine(**changes), HOST)


@pytest.mark.parametrize(
    ("flags", "device", "model"),
    [
        ("fpu vmx", True, "host"),
        ("fpu svm", True, "host"),
        ("fpu", True, "Nehalem,+rdrand"),
        ("fpu vmx", False, "Nehalem,+rdrand"),
    ],
)
def test_kvm_is_used_only_where_processor_and_device_are(
    tmp_path: Path, flags: str, device: bool, model: str
) -> None:
    cpuinfo, kvm = tmp_path / "cpuinfo", tmp_path / "kvm"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: vmx\n")
    if device:
        kvm.touch()
    assert accelerator(cpuinfo, kvm).cpu_model == model


def test_a_serial_port_on_the_network_is_a_line_to_the_lab() -> None:
    port = NetworkSerialPort(key=9000, direction="server", port=5000)
    host = replace(HOST, serial_descriptors={9000: 7})
    arguments = command_line(a_machine(serial_ports=(port,)), host)
    assert "socket,id=serial-9000-file,fd=7,server=on,wait=off" in arguments
    assert "5000" not in " ".join(arguments)


def test_a_guest_that_moves_in_starts_by_itself() -> None:
    assert "-S" in command_line(a_machine(), HOST)
    assert "-S" not in command_line(a_machine(), replace(HOST, starts_at_once=True))


def test_the_nvme_disk_that_boots_first_is_the_first_namespace() -> None:
    """The firmware is told of the controller, and takes its first namespace."""
    nvme = Controller(key=31000, bus_number=0, model="VirtualNVMEController")
    on_it = tuple(
        a_disk(VM / f"{unit}.vmdk", key=32000 + unit, controller_key=31000, unit=unit)
        for unit in range(3)
    )
    for order, wanted in (((), [1, 2, 3]), ((32002,), [3, 2, 1]), ((32001,), [2, 1, 3])):
        machine = a_machine(controllers=(nvme,), disks=on_it, boot_order=order)
        found = [text for text in command_line(machine, HOST) if '"nvme-ns"' in text]
        assert [json.loads(text)["nsid"] for text in found] == wanted
