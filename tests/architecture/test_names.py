"""No module is named for having no subject."""

from __future__ import annotations

from tests.architecture import source

SAY_NOTHING = {"common", "helper", "helpers", "misc", "util", "utils"}


def test_every_module_is_named_for_its_subject() -> None:
    names = {path for path in source.SOURCE.rglob("*") if path.stem in SAY_NOTHING}
    assert not names
