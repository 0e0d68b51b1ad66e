"""Names that others gave, which are legal on vSphere and harmful on a terminal, in every output."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from tests.backends import second_view
from tests.cli.conftest import Command, spawn
from tests.cli.test_interruption import on_terminal
from vmops.lab import Lab

# XML, in which they come, has no more of the control characters.
NAMES = (
    "clear\x9b2J\x9bH",
    "title\x9d0;owned\x9c",
    "red\x9b31m",
    "line\nbreak\rback",
    "exe\u202egpj.\u2066x",
    "tab\tdelete\x7f\x7f\x85",
    "-rf --help",
    "[datastore1] ../../etc %2f",
    "$(reboot) `id` 'q' \"d\"",
    "e\u0301\U0001f600 עברית 日本 " + "x" * 40,
)
OWN = re.compile(r"\x1b\[(?:[0-9;]*m|2K|\?25[lh]|[0-9]*[AG])")
"""What the command itself sends to a terminal: colours, a line that is drawn again, the cursor."""
HARMFUL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]")


@pytest.fixture(scope="module")
def content(lab: Lab) -> Iterator[Any]:
    context = ssl.create_default_context(cafile=str(lab.certificate_file))
    url = urlsplit(lab.url)
    session = SmartConnect(
        host=url.hostname, port=url.port, user=lab.username, pwd=lab.password, sslContext=context
    )
    yield session.content
    Disconnect(session)


@pytest.fixture(scope="module")
def instances(vmops: Command, content: Any) -> list[str]:
    """One instance of each name, on a network and a datastore that are called so, too."""
    uuids = []
    for number, name in enumerate(NAMES):
        made = spawn(vmops, f"plain{number}", "--no-power-on", "--network", "dv-net")
        assert made.code == 0, made.err
        uuids.append(made.out.strip())
        vm = content.searchIndex.FindByUuid(None, uuids[-1], True, True)
        second_view.finished(vm.Rename_Task(allowed(name)))
        second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation=name)))
        second_view.finished(vm.CreateSnapshot_Task(allowed(name), name, False, False))
    renamed = {vim.dvs.DistributedVirtualPortgroup: NAMES[0], vim.ClusterComputeResource: NAMES[3]}
    for kind, name in renamed.items():
        for each in second_view.every(content, kind, "name"):
            if "uplink" not in each.name.lower():
                second_view.finished(each.Rename_Task(allowed(name)))
    return uuids


def allowed(name: str) -> str:
    """What vSphere takes for a name: one line."""
    return re.sub(r"[\n\r\t\x7f]", " ", name)


def check(shown: str) -> None:
    left = OWN.sub("", shown).replace("\r\n", "\n").replace("\r", "")
    found = HARMFUL.search(left)
    assert found is None, f"{found and found[0]!r} in {shown!r}"


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("list", "-o", "wide"),
        ("list", "-o", "csv"),
        ("list", "-o", "name"),
        ("list", "-o", "yaml"),
        ("volume", "list"),
        ("audit",),
        ("env",),
        ("-v", "list"),
        ("show", "no\x1b[2Jsuch"),
        ("spawn", "new", "--image", "no\x1b[2Jsuch"),
        ("spawn", "new", "--image", "small", "--network", "no\x1b[2Jsuch"),
        ("spawn", "new", "--image", "small", "--cluster", "no\x1b[2Jsuch"),
    ],
    ids=lambda command: " ".join(command).replace("\x1b", "ESC"),
)
def test_all_at_once(vmops: Command, instances: list[str], command: tuple[str, ...]) -> None:
    code, shown = on_terminal(vmops, *command, columns=200)
    assert code in {0, 1, 2, 3}
    assert "Traceback" not in shown
    check(shown)


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_one_by_one(vmops: Command, instances: list[str], number: int) -> None:
    uuid = instances[number]
    for command in (
        ("show", uuid),
        ("diagnostics", uuid),
        ("interface", "list", uuid),
        ("stop", uuid),
        ("start", uuid),
        ("snapshot", "create", uuid, "--name", "image", "--plan"),
        ("destroy", uuid, "--plan"),
        ("destroy", uuid, "--yes"),
    ):
        code, shown = on_terminal(vmops, *command, columns=200)
        assert code == 0, shown
        assert "Traceback" not in shown
        check(shown)


def test_files_get_them_as_they_are(vmops: Command, content: Any) -> None:
    made = spawn(vmops, "raw", "--no-power-on")
    vm = content.searchIndex.FindByUuid(None, made.out.strip(), True, True)
    for name in NAMES:
        # Instances of these very names may be there.
        second_view.finished(vm.Rename_Task(f"{allowed(name)}!"))
        shown = vmops("show", made.out.strip(), "-o", "json").json["name"]
        assert shown == vm.name.replace("%2f", "/").replace("%5c", "\\").replace("%25", "%")
    assert vmops("destroy", made.out.strip(), "--yes").code == 0
