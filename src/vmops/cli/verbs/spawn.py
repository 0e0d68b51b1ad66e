"""``vmops spawn``."""

from __future__ import annotations

import time
import uuid as uuids
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.instances import Found, complete_images, instance_record, remember_one
from vmops.cli.properties import pairs
from vmops.cli.sizes import GIB, MIB, size
from vmops.cli.verbs.audit import sweep
from vmops.cli.verbs.spawn_guest import block_devices, guest_data, guest_options
from vmops.cli.verbs.spawn_machine import flavor, machine_options, sized_by_image, with_properties
from vmops.cli.waiting import Until, new_instance
from vmops.numbers import INT_MAX, whole_number

if TYPE_CHECKING:
    from vmops.cli.context import CommandContext
    from vmops.model.instance import Vif


@click.command()
@click.argument("name")
@click.option("--image", "-i", shell_complete=complete_images, help="Name or id of the image.")
@click.option(
    "--cpus",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="vCPUs; without it what an OVA asks for.",
)
@click.option(
    "--memory",
    default="128M",
    show_default=True,
    callback=size(MIB, "512M", least=4),
    help="Memory; without it what an OVA asks for.",
)
@click.option(
    "--disk", default="0", callback=size(GIB, "10G"),
    help="Root disk in GiB; as big as the image's without it. Beside an ISO image: a blank one.",
)  # fmt: skip
@click.option(
    "--network", "networks", multiple=True, metavar="PORTGROUP[,mac=MAC][,model=MODEL][,vlan=N]",
    help="A NIC on this port group, made if it has a VLAN; once for each. 'none' for no NIC.",
)  # fmt: skip
@guest_options
@machine_options
@click.option("--datastore", help="The datastore; otherwise the one with most free space.")
@click.option("--linked-clone/--full-clone", "linked", default=None, help="The root disk.")
@click.option(
    "--extra-config", multiple=True, metavar="KEY=VALUE", help="For the VM's extraConfig."
)
@click.option("--uuid", help="The instance's UUID; a new one without it.")
@click.option("--no-power-on", is_flag=True, help="Leave it off.")
@changes(until=Until.BOOTED, styles=("uuid",))
def spawn(change: Change, /, name: str, image: str | None, **options: Any) -> None:
    """Create an instance from an image or a volume and start it.

    Whatever fails, nothing of it is left.
    """
    from vmops.model.instance import Instance  # noqa: PLC0415

    context = change.context
    stored = context.images.get(image) if image else None
    sized_by_image(options, stored)
    instance = Instance(
        uuid=options["uuid"] or str(uuids.uuid4()), name=name, flavor=flavor(options)
    )
    guest = guest_data(options)
    engine = change.engine(datastore=options["datastore"], vm_folder=options["folder"])
    devices = block_devices(engine, image, options)
    chosen = with_properties(stored, options)
    change.begin_part(name)
    if context.uses_lab and change.is_plan:
        context.plan.note("What interrupted operations left in the lab is removed before this.")
    elif context.uses_lab:
        sweep(context)
    vifs = _vifs(context, options["networks"])
    begin = time.monotonic()
    engine.spawn(
        None,
        instance,
        chosen,
        vifs,
        devices,
        linked_clone=options["linked"],
        power_on=not options["no_power_on"],
        extra_config=pairs(options["extra_config"]),
        **guest,
    )
    if change.is_plan:
        return
    remember_one(context, name)
    made = Found(uuid=instance.uuid, name=name)
    if change.is_waited_for and not options["no_power_on"]:
        change.wait_for(made, new_instance(context, made), f"To remove it: vmops destroy {name}")
    else:
        state = "created" if options["no_power_on"] else "running"
        change.tell(f"{name}: {state} after {time.monotonic() - begin:.1f} s")
    change.show(lambda: instance_record(context, made), plain=instance.uuid)


def _vifs(context: CommandContext, networks: tuple[str, ...]) -> list[Vif]:
    """The interfaces asked for; without any, one on the default network if there is one."""
    from vmops.model.image import vif_model  # noqa: PLC0415
    from vmops.model.instance import Vif  # noqa: PLC0415

    if networks == ("none",):
        return []
    if not networks:
        return [Vif(network=default)] if (default := context.default_network()) else []
    vifs = []
    for text in networks:
        network, *rest = text.split(",")
        more = pairs(tuple(rest))
        if unknown := more.keys() - {"mac", "model", "vlan"}:
            raise click.BadParameter(f"--network: {', '.join(unknown)} is unknown.")
        vifs.append(
            Vif(
                network=network,
                mac_address=more.get("mac", ""),
                model=vif_model(more["model"]) if "model" in more else None,
                vlan=_vlan(more["vlan"]) if "vlan" in more else None,
            )
        )
    return vifs


def _vlan(text: str) -> int:
    number = whole_number(text, INT_MAX)
    if number is None:
        raise click.BadParameter(f"--network: {text!r} is not a VLAN id.")
    return number
