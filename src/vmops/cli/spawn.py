"""``vmops spawn``."""

from __future__ import annotations

import re
import time
import uuid as uuids
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import complete_images, remember_one
from vmops.cli.leftovers import sweep
from vmops.cli.output import OutputOptions, print_record
from vmops.errors import TimedOut
from vmops.steps import Operation, Reversible, step

if TYPE_CHECKING:
    from vmops.model.instance import Instance, Vif

READY = r"login:"
_POLL_S = 0.25
_SIZE = re.compile(r"^(\d+)\s*(?:([KMGT])i?B?)?$", re.IGNORECASE)
MIB = {None: 1, "M": 1, "G": 1024, "T": 1024 * 1024}
GIB = {None: 1, "G": 1, "T": 1024}


def size(unit: dict[str | None, int], default: str, least: int = 0) -> Any:
    """A callback that reads a size such as 512, 512M or 2G in whole units."""

    def read(_ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        found = _SIZE.match(value)
        suffix = found[2].upper() if found and found[2] else None
        if found is None or suffix not in unit:
            raise click.BadParameter(f"{value!r} is not a size; try {default}.", param=param)
        if (asked := int(found[1]) * unit[suffix]) < least:
            raise click.BadParameter(f"{value!r} is too little; try {default}.", param=param)
        return asked

    return read


@click.command()
@click.argument("name")
@click.option(
    "--image", "-i", required=True, shell_complete=complete_images, help="Name or id of the image."
)
@click.option("--cpus", type=click.IntRange(1), default=1, show_default=True, help="vCPUs.")
@click.option(
    "--memory",
    default="128M",
    show_default=True,
    callback=size(MIB, "512M", least=4),
    help="Memory.",
)
@click.option(
    "--disk", default="0", callback=size(GIB, "10G"),
    help="Root disk in GiB; as big as the image's without it.",
)  # fmt: skip
@click.option(
    "--network", "networks", multiple=True, metavar="PORTGROUP[,mac=MAC][,model=MODEL]",
    help="A NIC on this port group; once for each. 'none' for no NIC.",
)  # fmt: skip
@click.option("--datastore", help="The datastore; otherwise the one with most free space.")
@click.option("--linked-clone/--full-clone", "linked", default=None, help="The root disk.")
@click.option(
    "--extra-config", multiple=True, metavar="KEY=VALUE", help="For the VM's extraConfig."
)
@click.option("--uuid", help="The instance's UUID; a new one without it.")
@click.option("--no-power-on", is_flag=True, help="Leave it off.")
@click.option("--wait", is_flag=True, help="Wait until the guest's serial port shows --wait-for.")
@click.option("--wait-for", metavar="REGEX", default=READY, show_default=True)
@click.option(
    "-o", "--output", "style", type=click.Choice(["uuid", "json", "yaml", "name"]), default="uuid",
    show_default=True, help="What to print of the new instance.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0), default=300, show_default=True, help="Seconds to --wait."
)
@pass_context
def spawn(context: CommandContext, /, name: str, image: str, **options: Any) -> None:
    """Create an instance from an image and start it.

    Whatever fails, nothing of it is left.
    """
    from vmops.model.instance import Flavor, Instance  # noqa: PLC0415

    try:
        ready = re.compile(options["wait_for"])
    except re.error as wrong:
        raise click.BadParameter(f"--wait-for: {wrong}") from None
    instance = Instance(
        uuid=options["uuid"] or str(uuids.uuid4()),
        name=name,
        flavor=Flavor(
            vcpus=options["cpus"], memory_mib=options["memory"], root_gib=options["disk"]
        ),
    )
    chosen = context.images.get(image)
    if context.uses_lab:
        sweep(context)
    vifs = _vifs(context, options["networks"])
    begin = time.monotonic()
    context.engine(datastore=options["datastore"]).spawn(
        None,
        instance,
        chosen,
        vifs,
        linked_clone=options["linked"],
        power_on=not options["no_power_on"],
        extra_config=_pairs(options["extra_config"]),
    )
    remember_one(context, name)
    if options["wait"] and not options["no_power_on"]:
        _wait(context, instance, ready, options["timeout"])
    seconds = time.monotonic() - begin
    state = "created" if options["no_power_on"] else "ready" if options["wait"] else "running"
    click.echo(f"{name}: {state} after {seconds:.1f} s", err=True)
    _print(context, instance, options["style"])


def _print(context: CommandContext, instance: Instance, style: str) -> None:
    if style in {"uuid", "name"}:
        click.echo(getattr(instance, style))
        return
    from vmops.cli.listing import full_record  # noqa: PLC0415
    from vmops.ops.inventory import get_record  # noqa: PLC0415

    record = get_record(context.session, instance.uuid)
    print_record(full_record(record), OutputOptions(style=style))


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
        more = _pairs(tuple(rest))
        if unknown := more.keys() - {"mac", "model"}:
            raise click.BadParameter(f"--network: {', '.join(unknown)} is unknown.")
        vifs.append(
            Vif(
                network=network,
                mac_address=more.get("mac", ""),
                model=vif_model(more["model"]) if "model" in more else None,
            )
        )
    return vifs


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE.")
        pairs[key] = value
    return pairs


def _wait(
    context: CommandContext, instance: Instance, ready: re.Pattern[str], timeout_s: float
) -> None:
    """Wait until the guest's serial port shows that it is ready.

    Raises:
        TimedOut: it did not in time; the instance runs on.
    """
    try:
        with Operation("spawn", context.observer) as do:
            do(guest_ready(context, instance, ready, timeout_s))
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"The instance runs on; to remove it: vmops destroy {instance.name}")
        raise


@step("Wait for the guest")
def guest_ready(
    context: CommandContext, instance: Instance, ready: re.Pattern[str], timeout_s: float
) -> Reversible[None]:
    """Follow the serial log."""
    from vmops.ops.console import MAX_LOG_BYTES, follow_serial_log  # noqa: PLC0415

    deadline = time.monotonic() + timeout_s
    seen = ""
    for block in follow_serial_log(context.session, instance.uuid, MAX_LOG_BYTES):
        seen = (seen + block.decode("utf-8", "replace"))[-MAX_LOG_BYTES:]
        if ready.search(seen):
            break
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The guest did not show {ready.pattern!r} on its serial port within"
                f" {timeout_s:g} s. The instance runs on; see: vmops log {instance.name}"
            )
        if not block:
            time.sleep(_POLL_S)
    yield
