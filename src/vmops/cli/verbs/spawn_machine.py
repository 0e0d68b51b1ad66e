"""The options of ``vmops spawn`` for the machine itself: its hardware, allocations and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from vmops.cli.properties import properties

if TYPE_CHECKING:
    from vmops.model.image import Image
    from vmops.model.instance import Flavor

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--firmware", type=click.Choice(["bios", "uefi"]), help="Instead of the image's."
    ),
    click.option("--secure-boot", is_flag=True, help="Boot only what is signed; needs uefi."),
    click.option("--tpm", is_flag=True, help="With a virtual TPM; needs uefi."),
    click.option("--hw-version", metavar="vmx-N", help="The hardware version; else the newest."),
    click.option("--storage-policy", metavar="NAME", help="For all its files, and where they go."),
    click.option("--folder", metavar="PATH", help="The inventory folder, made if it is missing."),
    click.option(
        "--flavor-property", "flavor_properties", multiple=True, metavar="KEY=VALUE",
        help="An extra spec, as of a flavor of OpenStack's, such as quota:cpu_limit=1000.",
    ),
    click.option(
        "--image-property", "image_properties", multiple=True, metavar="KEY=VALUE",
        help="Instead of the image's, such as hw_vif_model=vmxnet3.",
    ),
)  # fmt: skip


def machine_options(command: F) -> F:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def flavor(options: dict[str, Any]) -> Flavor:
    """The flavor asked for.

    Raises:
        InstanceUnacceptable: there can be no such machine.
        click.BadParameter: a property is not known.
    """
    from vmops.model.instance import Flavor  # noqa: PLC0415
    from vmops.model.properties import FLAVOR_PROPERTIES  # noqa: PLC0415
    from vmops.ops.vmops.shapes import parse_flavor  # noqa: PLC0415

    specs = properties("--flavor-property", options["flavor_properties"], FLAVOR_PROPERTIES)
    for option, key in (
        ("hw_version", "vmware:hw_version"),
        ("storage_policy", "vmware:storage_policy"),
    ):
        if options[option]:
            specs[key] = options[option]
    if options["secure_boot"]:
        specs["os:secure_boot"] = "required"
    if options["tpm"]:
        specs["hw:tpm_version"] = "2.0"
    if not specs:
        return Flavor(vcpus=options["cpus"], memory_mib=options["memory"], root_gib=options["disk"])
    return parse_flavor(
        {
            "vcpus": options["cpus"],
            "memory_mb": options["memory"],
            "root_gb": options["disk"],
            "extra_specs": specs,
        }
    )


def with_properties(image: Image | None, options: dict[str, Any]) -> Image | dict[str, Any]:
    """The image with the properties asked for instead of its own; without one, these alone.

    Raises:
        ImageNotAcceptable: a property makes no sense.
        click.BadParameter: one is not known.
    """
    from vmops.model.properties import IMAGE_PROPERTIES  # noqa: PLC0415

    given = properties("--image-property", options["image_properties"], IMAGE_PROPERTIES)
    if options["firmware"]:
        given["hw_firmware_type"] = options["firmware"]
    if image is None:
        return {"properties": given}
    if not given:
        return image
    return replace(image, properties=image.properties.overridden_by(given))


def sized_by_image(options: dict[str, Any], image: Image | None) -> None:
    """Take processors and memory from the image's package where no option says them."""
    if image is None or image.package is None:
        return
    context = click.get_current_context()
    for option, told in (("cpus", image.package.vcpus), ("memory", image.package.memory_mib)):
        if told and context.get_parameter_source(option) is ParameterSource.DEFAULT:
            # vSphere takes memory in multiples of 4 MiB.
            options[option] = -(-told // 4) * 4 if option == "memory" else told
