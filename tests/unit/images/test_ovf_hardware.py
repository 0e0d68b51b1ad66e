"""What an OVF descriptor says of a machine: all of it is a default, a note, or refused."""

from __future__ import annotations

import pytest

from tests.image_files import OvfDisk, an_appliance_ovf
from vmops.errors import ImageNotAcceptable
from vmops.images.ovf_hardware import read_facts
from vmops.model.image import AdapterType, Firmware, ImageProperties, VifModel

ONE = (OvfDisk("one.vmdk", unit=0),)


def item(kind: int, *more: str, instance: int = 50) -> str:
    texts = "".join(f"<rasd:{name}>{text}</rasd:{name}>" for name, text in map(_pair, more))
    return (
        f"<Item>{texts}<rasd:InstanceID>{instance}</rasd:InstanceID>"
        f"<rasd:ResourceType>{kind}</rasd:ResourceType></Item>"
    )


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


@pytest.mark.parametrize(
    ("controller", "adapter"),
    [
        ((6, "lsilogic"), AdapterType.LSI_LOGIC),
        ((6, "LsiLogicSAS"), AdapterType.LSI_LOGIC_SAS),
        ((6, "VirtualSCSI"), AdapterType.PARA_VIRTUAL),
        ((6, "unheard-of VirtualSCSI lsilogic"), AdapterType.PARA_VIRTUAL),
        ((6, "buslogic"), AdapterType.BUS_LOGIC),
        ((6, ""), AdapterType.LSI_LOGIC),
        ((5, ""), AdapterType.IDE),
        ((5, "PIIX4"), AdapterType.IDE),
        ((20, "AHCI"), AdapterType.SATA),
        ((20, "vmware.sata.ahci"), AdapterType.SATA),
        ((20, "vmware.nvme.controller"), AdapterType.NVME),
    ],
)
def test_each_controller_is_an_adapter(controller: tuple[int, str], adapter: AdapterType) -> None:
    facts = read_facts(an_appliance_ovf(ONE, controller=controller))
    assert facts.properties["vmware_adaptertype"] == adapter.value
    assert facts.disks[0].adapter is adapter
    assert facts.notes == ()


@pytest.mark.parametrize("told", [(6, "unheard-of"), (20, ""), (20, "floppy")])
def test_a_controller_of_no_known_kind_is_told(told: tuple[int, str]) -> None:
    facts = read_facts(an_appliance_ovf(ONE, controller=told))
    assert "vmware_adaptertype" not in facts.properties
    assert "disk controller" in " ".join(facts.notes)


@pytest.mark.parametrize(
    ("told", "model"),
    [
        ("E1000", VifModel.E1000), ("E1000e", VifModel.E1000E), ("VmxNet3", VifModel.VMXNET3),
        ("PCNet32", VifModel.PCNET32), ("VmxNet2", VifModel.VMXNET), ("vmxnet", VifModel.VMXNET),
        ("Unheard VmxNet3", VifModel.VMXNET3),
    ],
)  # fmt: skip
def test_each_network_card_is_a_model(told: str, model: VifModel) -> None:
    facts = read_facts(an_appliance_ovf(ONE, item(10, f"ResourceSubType={told}")))
    assert ImageProperties().with_defaults(facts.properties).vif_model is model


def test_what_is_not_done_is_told() -> None:
    more = (
        item(10, "ResourceSubType=E1000", instance=60)
        + item(10, "ResourceSubType=VmxNet3", instance=61)
        + item(10, "ResourceSubType=Infiniband", instance=62)
        + item(21, instance=63) + item(35, instance=64) + item(23, instance=65)
        + item(77, instance=66)
        + item(15, "HostResource=ovf:/file/iso", instance=67)
        + '<vmw:Config vmw:key="cpuHotAddEnabled" vmw:value="true"/>'
        + '<vmw:Config vmw:key="flags.x" vmw:value="false"/>'
        + '<vmw:ExtraConfig vmw:key="secret.key" vmw:value="1"/>'
    )  # fmt: skip
    notes = " ".join(read_facts(an_appliance_ovf(ONE, more)).notes)
    for told in ("several models", "'Infiniband'", "serial port", "sound card", "USB controller",
                 "resource type 77", "CD-ROM", "cpuHotAddEnabled", "secret.key"):  # fmt: skip
        assert told in notes, told
    assert "flags.x" not in notes


@pytest.mark.parametrize(
    ("system", "guest_id"),
    [
        ('ovf:id="94" vmw:osType="ubuntu64Guest"', "ubuntu64Guest"),
        ('ovf:id="1" vmw:osType="*other3xLinux64Guest"', "other3xLinux64Guest"),
        ('ovf:id="101"', "otherLinux64Guest"),
    ],
)
def test_the_guest_is_named(system: str, guest_id: str) -> None:
    facts = read_facts(an_appliance_ovf(ONE, system=system))
    assert facts.properties["vmware_ostype"] == guest_id


@pytest.mark.parametrize("system", ['ovf:id="9999"', 'vmw:osType="$(touch x)Guest"', ""])
def test_a_guest_that_is_not_known_is_told(system: str) -> None:
    facts = read_facts(an_appliance_ovf(ONE, system=system))
    assert "vmware_ostype" not in facts.properties
    assert "guest OS" in " ".join(facts.notes)


def test_firmware_and_secure_boot_are_defaults() -> None:
    more = (
        '<vmw:Config vmw:key="firmware" vmw:value="efi"/>'
        '<vmw:Config vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="true"/>'
    )
    properties = ImageProperties().with_defaults(read_facts(an_appliance_ovf(ONE, more)).properties)
    assert properties.firmware is Firmware.EFI
    assert properties.hardware.secure_boot == "optional"


def test_a_property_of_the_image_goes_before_a_default() -> None:
    facts = read_facts(
        an_appliance_ovf(ONE, item(10, "ResourceSubType=VmxNet3"), controller=(20, "AHCI"))
    )
    for given in (
        {"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic", "hw_vif_model": "e1000"},
        {"vmware_adaptertype": "lsiLogic", "hw_vif_model": "VirtualE1000"},
    ):  # which are what would hold without any
        properties = ImageProperties.from_mapping(given).with_defaults(facts.properties)
        assert properties.adapter_type is AdapterType.LSI_LOGIC
        assert properties.vif_model is VifModel.E1000
    overridden = (
        ImageProperties().overridden_by({"vmware_adaptertype": "lsiLogic"})
        .with_defaults(facts.properties)
    )  # fmt: skip
    assert overridden.adapter_type is AdapterType.LSI_LOGIC
    assert overridden.vif_model is VifModel.VMXNET3


@pytest.mark.parametrize(
    ("quantity", "unit", "mib"),
    [
        ("2048", "byte * 2^20", 2048), ("2", "byte * 2^30", 2048), ("512", "MegaBytes", 512),
        ("2", "GigaBytes", 2048), ("1073741824", "byte", 1024), ("1", "furlongs", 0),
        ("²", "byte", 0), ("-1", "byte", 0), ("9" * 5000, "byte", 0),
    ],
)  # fmt: skip
def test_memory_is_read_in_its_unit(quantity: str, unit: str, mib: int) -> None:
    more = item(4, f"VirtualQuantity={quantity}", f"AllocationUnits={unit}") + item(
        3, "VirtualQuantity=4", instance=51
    )
    facts = read_facts(an_appliance_ovf(ONE, more))
    assert facts.memory_mib == mib
    assert facts.vcpus == 4
    assert bool(facts.notes) == (mib == 0)


def test_the_disk_at_the_lowest_place_boots_and_none_is_dropped() -> None:
    disks = (
        OvfDisk("data.vmdk", unit=2), OvfDisk("", unit=0, capacity=1 << 20),
        OvfDisk("system.vmdk", unit=1),
    )  # fmt: skip
    facts = read_facts(an_appliance_ovf(disks))
    assert [disk.file for disk in facts.disks] == ["system.vmdk", "", "data.vmdk"]
    assert facts.disks[1].capacity_bytes == 1 << 20


def test_the_boot_order_of_vsphere_goes_before_the_places() -> None:
    disks = (OvfDisk("data.vmdk", unit=0), OvfDisk("system.vmdk", unit=1))
    order = '</VirtualHardwareSection><vmw:BootOrderSection vmw:instanceId="{}" vmw:type="{}">'
    order += "<Info/></vmw:BootOrderSection><VirtualHardwareSection>"
    facts = read_facts(an_appliance_ovf(disks, order.format(11, "disk")))
    assert [disk.file for disk in facts.disks] == ["system.vmdk", "data.vmdk"]
    facts = read_facts(an_appliance_ovf(disks, order.format(12, "cdrom")))
    assert [disk.file for disk in facts.disks] == ["data.vmdk", "system.vmdk"]
    assert "'cdrom'" in " ".join(facts.notes)


def test_a_section_that_is_not_known_is_told() -> None:
    section = "<FrobnicationSection><Info/></FrobnicationSection><NetworkSection/>"
    notes = read_facts(an_appliance_ovf(ONE, before=section)).notes
    assert notes == ("Sections that are not understood: FrobnicationSection.",)


def test_a_deployment_option_decides() -> None:
    section = (
        "<DeploymentOptionSection><Info/>"
        '<Configuration ovf:id="small"/><Configuration ovf:id="big" ovf:default="true"/>'
        "</DeploymentOptionSection>"
    )
    more = "".join(
        item(3, f"VirtualQuantity={cpus}").replace("<Item>", f"<Item{configuration}>")
        for cpus, configuration in (
            (1, ""), (2, ' ovf:configuration="small"'), (8, ' ovf:configuration="big"'),
        )
    )  # fmt: skip
    assert read_facts(an_appliance_ovf(ONE, more, before=section)).vcpus == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('ovf:fileRef="f0"', 'ovf:fileRef="f9"'), "'f9' that it does not name"),
        (("ovf:/disk/d0", "ovf:/disk/d7"), "'d7' that it does not have"),
        (("<Disk ", '<Disk ovf:parentRef="x" '), "differs from another"),
        (("<File ", '<File ovf:compression="gzip" '), "compressed"),
        (("</VirtualSystem>", '</VirtualSystem><VirtualSystem ovf:id="b"/>'), "several machines"),
        (("<Disk ", '<Disk ovf:diskId="d0" ovf:capacity="1"/><Disk '), "two disks 'd0'"),
    ],
)
def test_what_cannot_be_understood_of_a_disk_is_refused(change: tuple[str, str], said: str) -> None:
    text = an_appliance_ovf(ONE).decode().replace(*change)
    with pytest.raises(ImageNotAcceptable, match=said):
        read_facts(text.encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_a_document_type_is_refused_in_every_encoding(encoding: str) -> None:
    text = an_appliance_ovf(ONE).decode().replace("<Envelope", "<!DOCTYPE x []><Envelope", 1)
    text = text.replace("UTF-8", encoding)
    with pytest.raises(ImageNotAcceptable, match="document type"):
        read_facts(text.encode(encoding))
