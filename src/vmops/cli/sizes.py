"""Sizes as people type them: 512, 512M, 2G."""

from __future__ import annotations

import re
from typing import Any

import click

_SIZE = re.compile(r"^([0-9]{1,15})\s*(?:([KMGT])i?B?)?$", re.IGNORECASE)
MIB: dict[str | None, int] = {None: 1, "M": 1, "G": 1024, "T": 1024 * 1024}
GIB: dict[str | None, int] = {None: 1, "G": 1, "T": 1024}


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
