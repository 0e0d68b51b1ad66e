"""``vmops image add | build | export | list | show | remove``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vmops import units
from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import complete_images
from vmops.cli.output import output_options, print_record, print_rows, take_output_options
from vmops.cli.properties import properties as read_properties
from vmops.cli.terminal import one_line, say
from vmops.model.image import (
    DISK_FORMATS,
    EXPORT_FORMATS,
    AdapterType,
    DiskType,
    Image,
    ImagePackage,
)
from vmops.model.properties import IMAGE_PROPERTIES
from vmops.progress import TransferProgress

COLUMNS = (
    "name", "disk_type", "disk", "file", "guest_id", "id", "capacity_bytes", "size_bytes",
    "adapter", "nic_model", "firmware", "secure_boot", "tpm", "video_ram_mib", "cpu_sockets",
    "cpu_cores", "cpu_max_sockets", "cpu_max_cores", "config_drive", "linked_clone", "checksum",
    "further_disks", "cpus", "memory_mib", "notes",
)  # fmt: skip


@click.group()
def image() -> None:
    """Add, list and remove images."""


@image.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The image's name; the file's without it.")
@click.option("--os", "guest_id", help="vSphere's guest id, such as otherLinux64Guest.")
@click.option("--adapter", type=click.Choice([a.value for a in AdapterType]), help="Disk adapter.")
@click.option("--nic-model", help="NIC model, such as vmxnet3 or e1000.")
@click.option("--firmware", type=click.Choice(["bios", "uefi"]))
@click.option(
    "--disk-type", type=click.Choice([d.value for d in DiskType]),
    help="The disk type of a raw file, whose bytes are taken as they are.",
)  # fmt: skip
@click.option(
    "--disk-format", type=click.Choice(DISK_FORMATS),
    help="The file's format, which is checked; 'raw' has a disk's bytes converted.",
)  # fmt: skip
@click.option("--linked-clone/--full-clone", "linked", default=None, help="For its root disks.")
@click.option("--property", "properties", multiple=True, metavar="KEY=VALUE", help="As in Glance.")
@pass_context
def add(context: CommandContext, /, file: Path, name: str | None, **options: Any) -> None:
    """Inspect an image and copy it into the store.

    It may be a VMDK, in several files too, an ISO image, an OVA, qcow2, VHD, VHDX, VDI or raw, each
    compressed with gzip, xz or zstd or not. All but ISO images and OVAs become VMDKs.
    """
    properties = {
        "vmware_ostype": options["guest_id"],
        "vmware_adaptertype": options["adapter"],
        "hw_vif_model": options["nic_model"],
        "hw_firmware_type": options["firmware"],
        "vmware_linked_clone": None
        if options["linked"] is None
        else str(options["linked"]).lower(),
    }
    wanted = {key: value for key, value in properties.items() if value is not None}
    wanted |= read_properties("--property", options["properties"], IMAGE_PROPERTIES)
    called = name or file.stem
    disk_type = DiskType(options["disk_type"]) if options["disk_type"] else None
    _add(context, file, called, wanted, disk_type, options["disk_format"])


def _add(
    context: CommandContext,
    file: Path,
    name: str,
    properties: dict[str, str],
    disk_type: DiskType | None = None,
    disk_format: str | None = None,
) -> None:
    added = context.images.add(
        file,
        name,
        disk_type=disk_type,
        disk_format=disk_format,
        properties=properties,
        observe_bytes=lambda done, total: context.observer(
            TransferProgress(name=name, done_bytes=done, total_bytes=total)
        ),
    )
    context.close()
    disk = f" a disk of {_disk(added)} in" if added.capacity_bytes else ""
    say(
        f"{added.name}: {_kind(added)},{disk} a file of {units.human_bytes(added.size_bytes)}",
        err=True,
    )
    for note in added.package.notes if added.package is not None else ():
        say(f"Warning: {note}", err=True)
    say(added.id)


@image.command()
@click.option("--name", default="tiny", show_default=True, help="The image's name.")
@click.option(
    "--kind", type=click.Choice(["linux", "boot-sector"]), default="linux", show_default=True,
    help="A small Linux with a login, or a guest of one sector.",
)  # fmt: skip
@pass_context
def build(context: CommandContext, name: str, kind: str) -> None:
    """Build a guest for the lab from Debian packages and add it as an image."""
    from vmops.cli.verbs.guest_image import guest_image  # noqa: PLC0415

    with guest_image(context.state_dir, kind) as (file, properties):
        _add(context, file, name, properties)


@image.command()
@click.argument("name", shell_complete=complete_images)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format", "disk_format", type=click.Choice(EXPORT_FORMATS), default="vmdk",
    show_default=True, help="vmdk is streamOptimized.",
)  # fmt: skip
@pass_context
def export(context: CommandContext, /, name: str, file: Path, disk_format: str) -> None:
    """Write an image's disk to a new file."""
    export_to(context, context.images.get(name), file, disk_format)


def export_to(context: CommandContext, one: Image, file: Path, disk_format: str) -> None:
    """Write an image's disk to a new file, and tell of it."""
    from vmops.images import export as writing  # noqa: PLC0415

    writing.export(
        context.images,
        one,
        disk_format,
        file,
        lambda done, total: context.observer(
            TransferProgress(name=one.name, done_bytes=done, total_bytes=total)
        ),
    )
    size = units.human_bytes(file.stat().st_size)
    say(f"{one.name}: written to {file} as {disk_format}, {size}", err=True)


@image.command("list")
@output_options
@pass_context
def list_images(context: CommandContext, /, **options: Any) -> None:
    """List the images."""
    how = take_output_options(options)
    images, wrong = context.images.look()
    rows = [image_record(one) for one in images]
    for each in wrong:
        say(f"Warning: an image cannot be used: {one_line(each)}", err=True)
    if not rows and not wrong and how.style in {"table", "wide"}:
        say(
            "There are no images. Add one with: vmops image add FILE, or make one for the lab"
            " with: vmops image build",
            err=True,
        )
        return
    print_rows(rows, how, keys=COLUMNS, narrow=COLUMNS[:6])


@image.command()
@click.argument("name", shell_complete=complete_images)
@output_options
@pass_context
def show(context: CommandContext, /, name: str, **options: Any) -> None:
    """Show one image in full."""
    how = take_output_options(options)
    print_record(image_record(context.images.get(name)), how)


@image.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_images)
@pass_context
def remove(context: CommandContext, names: tuple[str, ...]) -> None:
    """Take images out of the store; instances made from them stay."""
    for name in names:
        context.images.remove(name)
        say(f"{name}: removed", err=True)


def _kind(one: Image) -> str:
    """How the image's file is laid out, in one word."""
    if one.container_format == "ova":
        return one.container_format
    return one.properties.disk_type.value if one.disk_format == "vmdk" else one.disk_format


def _disk(one: Image) -> str:
    """The size of its disk, for people; "" where it has none."""
    return units.human_bytes(one.capacity_bytes) if one.capacity_bytes else ""


def image_record(one: Image) -> dict[str, Any]:
    """All that `show` tells of an image."""
    properties, hardware = one.properties, one.properties.hardware
    return {
        "name": one.name,
        "disk_type": _kind(one),
        "disk": _disk(one),
        "file": units.human_bytes(one.size_bytes),
        "guest_id": properties.guest_id,
        "id": one.id,
        "capacity_bytes": one.capacity_bytes,
        "size_bytes": one.size_bytes,
        "adapter": properties.adapter_type.value,
        "nic_model": properties.vif_model.word,
        "firmware": properties.firmware.value,
        "secure_boot": secure.value if (secure := hardware.secure_boot) is not None else None,
        "tpm": hardware.tpm,
        "video_ram_mib": hardware.video_ram_mib or None,
        **{f"cpu_{word}": number or None for word, number in asdict(hardware.topology).items()},
        "config_drive": "mandatory" if properties.needs_config_drive else "optional",
        "linked_clone": properties.linked_clone,
        "checksum": one.checksum,
        **_package_record(one),
    }


def _package_record(one: Image) -> dict[str, Any]:
    """What an archive says of the machine besides, and what of it is not done."""
    package = one.package or ImagePackage(boot_file="")
    return {
        "further_disks": ", ".join(
            f"{disk.file or 'blank'} ({units.human_bytes(disk.capacity_bytes)},"
            f" {disk.adapter or one.properties.adapter_type})"
            for disk in package.disks
        )
        or None,
        "cpus": package.vcpus or None,
        "memory_mib": package.memory_mib or None,
        "notes": " ".join(package.notes) or None,
    }
