"""The options of ``vmops spawn`` for what the guest finds: further disks, and its config drive."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmops.cli.sizes import GIB, MIB, size
from vmops.cli.terminal import say

if TYPE_CHECKING:
    from vmops.model.block_devices import BlockDevices
    from vmops.ops.vmops.vmops import VMwareVMOps

F = TypeVar("F", bound=Callable[..., Any])

_KEY = re.compile(rb"^(ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/=]+(?: (?P<comment>.*))?$")
# What cloud-init begins to read; see its documentation, "User-data formats".
_USER_DATA = (b"#", b"Content-Type:", b"MIME-Version:", b"From ", b"\x1f\x8b")


def _sizes(unit: dict[str | None, int], default: str) -> Any:
    one = size(unit, default, least=1)

    def read(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[int]:
        return [one(ctx, param, value) for value in values]

    return read


_OPTIONS = (
    click.option(
        "--ephemeral", "ephemerals", multiple=True, metavar="SIZE", callback=_sizes(GIB, "10G"),
        help="An empty disk in GiB that goes with the instance; once for each.",
    ),
    click.option(
        "--volume", "volumes", multiple=True, metavar="VOLUME",
        help="Attach this volume before it starts; once for each.",
    ),
    click.option(
        "--boot-volume", metavar="VOLUME",
        help="Boot from this volume; --image then only says what machine it needs.",
    ),
    click.option("--swap", metavar="SIZE", callback=size(MIB, "512M"), help="A swap disk in MiB."),
    click.option("--config-drive", is_flag=True, help="Give it a config drive in any case."),
    click.option(
        "--user-data", metavar="FILE|-", help="User data for its first boot, by config drive."
    ),
    click.option(
        "--file", "files", multiple=True, metavar="GUEST=LOCAL",
        help="A local file that its first boot puts there, by config drive.",
    ),
    click.option(
        "--key", "keys", multiple=True, metavar="FILE", help="A public SSH key, by config drive."
    ),
)  # fmt: skip


def guest_options(command: F) -> F:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def block_devices(engine: VMwareVMOps, image: str | None, options: dict[str, Any]) -> BlockDevices:
    """The disks asked for; volumes are looked up."""
    from vmops.model.block_devices import BlockDevices, EphemeralDisk, VolumeAttachment  # noqa: PLC0415

    boot = options["boot_volume"]
    if not (image or boot):
        raise click.UsageError("Nothing to boot from: add --image or --boot-volume.")
    wanted: list[tuple[str, int | None]] = [(boot, 0)] if boot else []
    wanted += [(name, None) for name in options["volumes"]]
    return BlockDevices(
        volumes=tuple(
            VolumeAttachment(volume=engine.find_volume(name).volume, boot_index=index)
            for name, index in wanted
        ),
        ephemerals=tuple(EphemeralDisk(size_gib=gib) for gib in options["ephemerals"]),
        swap_mib=options["swap"] or 0,
    )


def guest_data(options: dict[str, Any]) -> dict[str, Any]:
    """What the config drive is to hold, as `VMwareVMOps.spawn` takes it."""
    return {
        "config_drive": True if options["config_drive"] else None,
        "user_data": _user_data(options["user_data"]) if options["user_data"] else None,
        "injected_files": [_file(text) for text in options["files"]],
        "public_keys": dict(_key(text) for text in options["keys"]),
    }


def _user_data(name: str) -> bytes:
    content = sys.stdin.buffer.read() if name == "-" else _read("--user-data", name)
    if not content:
        raise click.BadParameter("it is empty.", param_hint="--user-data")
    if not content.startswith(_USER_DATA):
        say(
            "Note: cloud-init ignores user data unless its first line is one such as"
            " '#cloud-config' or '#!/bin/sh'.",
            err=True,
        )
    return content


def _file(text: str) -> tuple[str, bytes]:
    guest, equals, local = text.partition("=")
    if not guest or not equals or not local:
        raise click.BadParameter(f"{text!r} is not GUEST=LOCAL.", param_hint="--file")
    return guest, _read("--file", local)


def _key(name: str) -> tuple[str, str]:
    content = _read("--key", name).strip()
    found = _KEY.match(content)
    if found is None:
        why = "is a private key: give the one in .pub" if b"PRIVATE KEY" in content else (
            "is not a public SSH key"
        )  # fmt: skip
        raise click.BadParameter(f"{name} {why}.", param_hint="--key")
    return (found["comment"] or b"").decode("utf-8", "replace") or Path(name).stem, (
        content.decode("utf-8", "replace")
    )


def _read(option: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as failure:
        raise click.BadParameter(f"{name}: {failure.strerror}.", param_hint=option) from None
