"""From the name that a person types to the instance that is meant, and completion of names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from vmops.cli.shell_words import completions
from vmops.errors import Conflict, InstanceNotFound, VMOpsError
from vmops.model.uuid_text import is_uuid
from vmops.whole_files import write_whole

if TYPE_CHECKING:
    from vmops.cli.context import CommandContext
    from vmops.cli.endpoint import Setting
    from vmops.ops.instances.listing import InstanceRecord

NAMES_FILE = "instance-names.json"
NARROW = ("name", "status", "cpus", "memory_mib", "addresses", "host", "uuid")
COLUMNS = (*NARROW, "moid", "folder", "guest_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An instance that a name stands for."""

    uuid: str
    name: str


def resolve(context: CommandContext, name: str) -> Found:
    """The one instance of this name or UUID; only a name is looked for.

    Raises:
        InstanceNotFound: there is none.
        Conflict: several have this name; the message gives their UUIDs.
    """
    from vmops.ops.instances.named import uuids_called  # noqa: PLC0415

    if is_uuid(name.lower()):
        return Found(uuid=name.lower(), name=name)
    uuids = uuids_called(context.session, name)
    if not uuids:
        forget(context, name)
        raise InstanceNotFound(repr(name))
    remember_one(context, name)
    if len(uuids) > 1:
        raise Conflict(f"Several instances are called {name!r}: {', '.join(uuids)}. Use a UUID.")
    context.session.names_told[uuids[0]] = name
    return Found(uuid=uuids[0], name=name)


def remember(context: CommandContext, names: list[str]) -> None:
    """Keep an endpoint's names for the shell's completion, which must not wait for a server."""
    _write(context.state_dir, _endpoint(context.settings), names)


def remember_one(context: CommandContext, name: str) -> None:
    """Keep the name of a new instance."""
    endpoint = _endpoint(context.settings)
    _write(context.state_dir, endpoint, [*_read(context.state_dir).get(endpoint, []), name])


def forget(context: CommandContext, name: str) -> None:
    """Drop the name of an instance that is gone."""
    endpoint = _endpoint(context.settings)
    there = _read(context.state_dir).get(endpoint, [])
    _write(context.state_dir, endpoint, [one for one in there if one != name])


def _endpoint(settings: Mapping[str, Setting]) -> str:
    return settings["url"].value if "url" in settings else "lab"


def _read(folder: Path) -> dict[str, list[str]]:
    try:
        found = json.loads((folder / NAMES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(folder: Path, endpoint: str, names: list[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = {**_read(folder), endpoint: sorted(set(names))}
        write_whole(folder / NAMES_FILE, json.dumps(content).encode(), private=True)
    except OSError:
        return  # completion is a convenience; a full disk must not fail the command


def complete_instances(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The names of the endpoint in use that were seen last and begin like this."""
    from vmops.cli.endpoint import find_settings, state_dir  # noqa: PLC0415

    try:
        endpoint = _endpoint(find_settings({}))
    except VMOpsError:
        return []
    return completions(_read(state_dir()).get(endpoint, []), incomplete)


def complete_images(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The images of the store that begin like this."""
    from vmops.cli.context import CommandContext  # noqa: PLC0415

    names = [file.stem for file in CommandContext({}).images.directory.glob("*.yaml")]
    return completions(sorted(names), incomplete)


instance_argument = click.argument("name", shell_complete=complete_instances)
"""The argument NAME of a command on one instance; a UUID may be given, too."""


def record_row(record: InstanceRecord) -> dict[str, Any]:
    """What ``list`` tells of an instance."""
    values = {name: getattr(record, name) for name in COLUMNS}
    return {**values, "addresses": list(record.addresses)}


def instance_record(context: CommandContext, found: Found) -> dict[str, Any]:
    """All that ``show`` tells of an instance."""
    from vmops.ops.instances.listing import get_record  # noqa: PLC0415

    record = get_record(context.session, found.uuid)
    return {
        **record_row(record),
        "booted": record.boot_time,
        "image": record.image_id,
        "nics": list(record.nics),
        "disks": list(record.disks),
        "tools": record.tools,
    }
