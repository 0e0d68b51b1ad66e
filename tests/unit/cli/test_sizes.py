"""Sizes as people type them."""

from __future__ import annotations

from typing import Any

import click
import pytest

from vmops.cli.verbs.spawn import spawn

CONTEXT = click.Context(spawn)


def read(option: str, value: str) -> Any:
    param = next(p for p in spawn.params if option in p.opts)
    return param.process_value(CONTEXT, value)


@pytest.mark.parametrize(
    ("text", "mib"), [("512", 512), ("512M", 512), ("512 MiB", 512), ("2G", 2048), ("1t", 1048576)]
)
def test_memory_is_in_mib(text: str, mib: int) -> None:
    assert read("--memory", text) == mib


@pytest.mark.parametrize(("text", "gib"), [("10", 10), ("10G", 10), ("1T", 1024), ("0", 0)])
def test_disks_are_in_gib(text: str, gib: int) -> None:
    assert read("--disk", text) == gib


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--memory", "1.5G"),
        ("--memory", "-4"),
        ("--memory", "3"),
        ("--disk", "10M"),
        ("--disk", ""),
    ],
)
def test_what_is_no_size(option: str, text: str) -> None:
    with pytest.raises(click.BadParameter):
        read(option, text)
