"""KEY=VALUE on the command line, and properties of flavors and images, whose names are known."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click


def pairs(texts: Sequence[str], option: str | None = None) -> dict[str, str]:
    """KEY=VALUE, each once; ``option`` is where they were given.

    Raises:
        click.BadParameter: one is not of this form.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint=option)
        found[key] = value
    return found


def properties(option: str, texts: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Those given by an option, as KEY=VALUE.

    What nobody reads would be passed over in silence: who types it means something by it.

    Raises:
        click.BadParameter: one is not of this form, or its name is none of those that are known.
    """
    given = pairs(texts, option)
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known)
            more = f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(known)}."
            raise click.BadParameter(f"There is no property {name!r}. {more}", param_hint=option)
    return given
