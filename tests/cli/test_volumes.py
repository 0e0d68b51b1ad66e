"""Volumes by command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Command, spawn


@pytest.fixture
def web1(vmops: Command) -> Iterator[str]:
    assert spawn(vmops, "web1").code == 0
    yield "web1"
    vmops("destroy", "web1", "--yes")


@pytest.mark.parametrize("kind", ["fcd", "vmdk"])
def test_a_volume_from_its_making_to_its_end(vmops: Command, web1: str, kind: str) -> None:
    made = vmops("volume", "create", "data", "--size", "8M", "--type", kind)
    assert made.code == 0, made.err
    identity = made.out.strip()
    shown = vmops("volume", "show", "data", "-o", "json").json
    assert (shown["id"], shown["type"], shown["size_bytes"]) == (identity, kind, 8 * 1024**2)
    assert shown["attached_to"] == ""
    attached = vmops("volume", "attach", web1, "data", "-o", "json")
    assert attached.code == 0, attached.err
    assert "web1: data attached" in attached.err
    (listed,) = vmops("volume", "list", "-o", "json").json
    assert (listed["name"], listed["attached_to"]) == ("data", "web1")
    again = vmops("volume", "create", "data", "--size", "8M")
    assert (again.code, "already" in again.err) == (4, True)
    refused = vmops("volume", "delete", "data", "--yes")
    assert refused.code != 0
    assert "attached to web1. Detach it first" in refused.err
    assert vmops("volume", "detach", web1, identity).code == 0
    missing = vmops("volume", "detach", web1, "data")
    assert missing.code != 0
    assert "Volume data is not attached to web1. Attached: none." in missing.err
    deleted = vmops("volume", "delete", "data", "--yes", "-o", "json")
    assert "data: deleted" in deleted.err
    assert deleted.json == [{"name": "data", "id": identity, "status": "deleted"}]
    empty = vmops("volume", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "vmops volume create" in empty.err


@pytest.mark.parametrize("kind", ["fcd", "vmdk"])
def test_who_has_a_volume_is_told_in_the_words_that_were_typed(
    vmops: Command, web1: str, kind: str
) -> None:
    assert spawn(vmops, "web2").code == 0
    assert vmops("volume", "create", "data", "--size", "8M", "--type", kind).code == 0
    assert vmops("volume", "attach", web1, "data").code == 0
    for more in ((), ("--plan",)):
        taken = spawn(vmops, "web3", "--volume", "data", *more)
        assert taken.code == 4
        assert "Volume data is attached to web1. Detach it first." in taken.err
        assert "Create the VM" not in taken.err + taken.out
        twice = spawn(vmops, "web3", "--boot-volume", "data", "--volume", "data", *more)
        assert twice.code == 2
        assert "Volume data is given twice." in twice.err
        refused = vmops("volume", "attach", "web2", "data", *more)
        assert refused.code == 4
        assert "Volume data is attached to web1. Detach it first." in refused.err
    assert vmops("destroy", "web2", "--yes").code == 0
    vmops("volume", "detach", web1, "data")
    vmops("volume", "delete", "data", "--yes")


def test_what_makes_no_sense(vmops: Command) -> None:
    assert vmops("volume", "create", "x").code == 2
    assert vmops("volume", "create", "x", "--size", "huge").code == 2
    assert vmops("volume", "create", "a/b", "--size", "8M").code != 0
    gone = vmops("volume", "show", "nothing")
    assert gone.code != 0
    assert "no volume 'nothing'" in gone.err


def test_a_plan_makes_nothing(vmops: Command) -> None:
    planned = vmops("volume", "create", "data", "--size", "8M", "--plan")
    assert planned.code == 0, planned.err
    assert "CreateDisk_Task" in planned.out
    assert vmops("volume", "list", "-o", "json").json == []


@pytest.mark.parametrize(
    ("kind", "attach", "detach"),
    [("vmdk", "ReconfigVM_Task", "ReconfigVM_Task"), ("fcd", "AttachDisk_Task", "DetachDisk_Task")],
)
def test_a_plan_attaches_and_detaches_nothing(
    vmops: Command, web1: str, kind: str, attach: str, detach: str
) -> None:
    assert vmops("volume", "create", "data", "--size", "8M", "--type", kind).code == 0
    for verb, call, holder in (("attach", attach, ""), ("detach", detach, "web1")):
        planned = vmops("volume", verb, web1, "data", "--plan")
        assert planned.code == 0, planned.err
        assert call in planned.out
        assert vmops("volume", "show", "data", "-o", "json").json["attached_to"] == holder
        assert vmops("volume", verb, web1, "data").code == 0
    vmops("volume", "delete", "data", "--yes")
