"""What holds a secret does not show it: not as text, not in a log, not in a traceback."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pickle
import pkgutil
import re
import traceback
from collections.abc import Iterator

import pytest

import vmops
from vmops.errors import VMOpsError
from vmops.vsphere.wire.secret import Secret

SECRET = re.compile(
    r"(?i)passw|secret|ticket|token|cookie|credential|private_key|admin_pass|user_?data|api_key"
)
# "module.Class.field" -> why it may be seen
SEEN = {
    "vmops.cli.endpoint.Setting.secret": "whether the value is one",
    "vmops.cli.lab_endpoint.LabEndpoint.password_file": "the file's name",
}
CANARY = "canary-91c2"


def classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(vmops.__path__, "vmops."):
        if module.name.endswith("__main__"):
            continue
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name:
                yield found


HOLDERS = [
    (found, field)
    for found in classes()
    if dataclasses.is_dataclass(found)
    for field in dataclasses.fields(found)
    if SECRET.search(field.name)
]


def named(holder: tuple[type, dataclasses.Field[object]]) -> str:
    return f"{holder[0].__module__}.{holder[0].__qualname__}.{holder[1].name}"


def test_there_are_some() -> None:
    assert len(HOLDERS) >= 5


@pytest.mark.parametrize("holder", HOLDERS, ids=named)
def test_a_field_that_is_secret_is_in_no_representation(
    holder: tuple[type, dataclasses.Field[object]],
) -> None:
    found, field = holder
    if named(holder) in SEEN or field.type in {"bool", bool, "Path", "int"}:
        return
    made: object = object.__new__(found)
    for each in dataclasses.fields(found):
        object.__setattr__(made, each.name, CANARY if each.name == field.name else None)
    try:
        shown = repr(made) + str(made)
    except (AttributeError, TypeError):
        shown = ""  # its representation needs more than this; then the field's own word counts
        assert not field.repr or "Secret" in str(field.type)
    assert CANARY not in shown


@pytest.mark.parametrize("form", ["{}", "{!r}", "{!s}", "{:>30}", "{!a}"])
def test_a_secret_shows_itself_in_no_form(form: str) -> None:
    secret = Secret(CANARY)
    assert CANARY not in form.format(secret)
    assert CANARY not in f"{vars(type(secret))}{dir(secret)}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == CANARY


def test_no_frame_of_a_refused_login_has_the_password() -> None:
    """As tools show tracebacks that print each frame's variables."""
    try:
        vmops.connect("https://127.0.0.1:1", "somebody", CANARY)
    except VMOpsError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [frame for frame in frames.stack if "/vmops/" in frame.filename]
    told = [f"{each.name}: {each.locals}" for each in ours if not each.name.startswith("test_")]
    assert told
    assert CANARY not in "\n".join(told)
