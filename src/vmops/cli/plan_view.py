"""A plan as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import yaml

if TYPE_CHECKING:
    from vmops.vsphere.plan import Plan, PlannedCall, PlannedPart

_WIDTH = 96


def print_plan(plan: Plan, style: str | None) -> None:
    """Print it to stdout; as text unless ``style`` is "json" or "yaml"."""
    if style == "json":
        click.echo(json.dumps(as_data(plan), indent=2))
    elif style == "yaml":
        click.echo(_yaml(as_data(plan)), nl=False)
    else:
        for part in plan.parts:
            for line in _lines(part):
                click.echo(line)
    number = len(list(plan.calls()))
    count = {0: "No call", 1: "One call"}.get(number, f"{number} calls")
    click.echo(f"{count} would be sent. Nothing was changed.", err=True)


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
            if call.arguments:
                for line in _yaml(call.arguments).splitlines():
                    yield f"{indent}     {line}"
    for note in part.notes:
        yield f"  Note: {note}"


def _yaml(data: Any) -> str:
    """YAML in which what has nothing inside it stands on one line."""
    return str(
        yaml.safe_dump(
            data, sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True
        )
    )
