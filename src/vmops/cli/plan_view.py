"""A plan as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from vmops.cli.terminal import say

if TYPE_CHECKING:
    from vmops.vsphere.planning.plan import Plan, PlannedCall, PlannedPart

_WIDTH = 96


def print_plan(plan: Plan, style: str | None) -> None:
    """Print it to stdout; as text unless ``style`` is "json" or "yaml".

    How much it is ends the text; beside what programs read it goes to stderr.
    """
    if style == "json":
        say(json.dumps(as_data(plan), indent=2))
    elif style == "yaml":
        say(yaml.safe_dump(as_data(plan), sort_keys=False, allow_unicode=True), nl=False)
    else:
        for part in plan.parts:
            for line in _lines(part):
                say(line)
    number = len(list(plan.calls()))
    count = {0: "No call", 1: "One call"}.get(number, f"{number} calls")
    is_data = style in {"json", "yaml"}
    say(f"{count} would be sent. Nothing was changed.", err=is_data)


def as_data(plan: Plan) -> list[dict[str, Any]]:
    """One mapping for each part, with its steps in order and the calls of each."""
    return [
        {
            "title": part.title,
            "steps": [
                {
                    "number": each.number,
                    "title": each.title,
                    "calls": [_call(call) for call in each.calls],
                }
                for each in part.steps
            ],
            "notes": part.notes,
        }
        for part in plan.parts
    ]


def _call(call: PlannedCall) -> dict[str, Any]:
    found = {"method": call.method, "target": call.target, "arguments": call.arguments}
    return {**found, "note": call.note} if call.note else found


def _lines(part: PlannedPart) -> Iterator[str]:
    yield f"Plan: {part.title}" if part.title else "Plan"
    for each in part.steps:
        indent = "  " * (each.number.count(".") + 1)
        yield f"{indent}{each.number}. {each.title}"
        for call in each.calls:
            note = f"  ({call.note})" if call.note else ""
            yield f"{indent}   {call.method} {call.target}{note}"
            for line in _block(call.arguments):
                yield f"{indent}     {line}"
    for note in part.notes:
        yield f"  Note: {note}"


def _block(data: Mapping[str, Any]) -> Iterator[str]:
    """Lines of "key: value"; what has no room on one line stands below its key."""
    for key, value in data.items():
        line = f"{key}: {_inline(value)}"
        if len(line) <= _WIDTH and "\n" not in line:
            yield line
        elif isinstance(value, Mapping):
            yield f"{key}:"
            yield from (f"  {inner}" for inner in _block(value))
        elif isinstance(value, list):
            yield f"{key}:"
            for item in value:
                yield from _item(item)
        else:
            yield f"{key}:"
            yield from (f"  {inner}" for inner in str(value).splitlines())


def _item(item: Any) -> Iterator[str]:
    """A list's item, behind a dash."""
    line = _inline(item)
    if len(line) <= _WIDTH or not isinstance(item, Mapping):
        yield f"- {line}"
        return
    first = "- "
    for inner in _block(item):
        yield f"{first}{inner}"
        first = "  "


def _inline(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "{" + ", ".join(f"{k}: {_inline(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case "":
            return '""'
        case _:
            return str(value)
