"""``vmops interface attach | detach | list``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import instance_argument, resolve
from vmops.cli.output import output_options, print_rows, take_output_options
from vmops.cli.waiting import Until
from vmops.model.image import VifModel, vif_model

if TYPE_CHECKING:
    from vmops.ops.instances.interfaces import Interface

COLUMNS = ("mac_address", "network", "model", "connected", "addresses", "id")


@click.group()
def interface() -> None:
    """Attach, detach and list network interfaces, also while the instance runs."""


@interface.command()
@instance_argument
@click.option("--network", required=True, help="The port group it is plugged into.")
@click.option("--mac", default="", help="Its MAC address; the server chooses one without it.")
@click.option(
    "--model", type=click.Choice([model.word for model in VifModel]),
    help="What the guest has a driver for; that of its first interface without it.",
)  # fmt: skip
@click.option("--id", "interface_id", default="", help="A name for it, such as a Neutron port's.")
@changes(until=Until.DONE)
def attach(change: Change, /, name: str, **options: Any) -> None:
    """Plug one more interface, and print its MAC address."""
    from vmops.model.instance import Vif  # noqa: PLC0415

    model = options["model"]
    vif = Vif(
        network=options["network"],
        mac_address=options["mac"],
        id=options["interface_id"],
        model=vif_model(model) if model else None,
    )
    context = change.context
    found = resolve(context, name)
    change.begin_part(found.name)
    before = {old.mac_address for old in _listed(context, found.uuid)}
    change.engine().attach_interface(None, found.uuid, None, vif)
    for each in _listed(context, found.uuid):
        if each.mac_address not in before:
            change.show(functools.partial(_row, each), plain=each.mac_address)


@interface.command()
@instance_argument
@click.option("--mac", default="", help="Its MAC address.")
@click.option("--id", "interface_id", default="", help="Its id, where it has one.")
@changes(until=Until.DONE)
def detach(change: Change, /, name: str, mac: str, interface_id: str) -> None:
    """Unplug an interface, named by its MAC address or its id."""
    if bool(mac) is bool(interface_id):
        raise click.UsageError("Name the interface by either --mac or --id.")
    found = resolve(change.context, name)
    with change.on(found, f"{mac or interface_id} detached"):
        change.engine().detach_interface(None, found.uuid, {"address": mac, "id": interface_id})


@interface.command("list")
@instance_argument
@output_options
@pass_context
def list_of(context: CommandContext, /, name: str, **options: Any) -> None:
    """List an instance's interfaces."""
    how = take_output_options(options)
    rows = [_row(each) for each in _listed(context, resolve(context, name).uuid)]
    print_rows(rows, how, keys=COLUMNS, narrow=COLUMNS)


def _row(each: Interface) -> dict[str, Any]:
    return {
        "name": each.mac_address,
        **{column: getattr(each, column) for column in COLUMNS},
        "addresses": list(each.addresses),
    }


def _listed(context: CommandContext, uuid: str) -> tuple[Interface, ...]:
    from vmops.ops.instances.interfaces import list_interfaces  # noqa: PLC0415

    return list_interfaces(context.session, uuid)
