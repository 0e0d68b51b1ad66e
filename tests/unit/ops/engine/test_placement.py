"""Reservations: what spawns under way will need."""

from __future__ import annotations

from collections import Counter

import pytest
from pyVmomi import vim

from vmops.ops.engine.placement import Reservations
from vmops.vsphere.live.records import DatastoreInfo


def datastore(name: str, free: int) -> DatastoreInfo:
    return DatastoreInfo(
        moref=vim.Datastore(name),
        browser=vim.host.DatastoreBrowser(f"browser-{name}"),
        moid=name,
        name=name,
        type="VMFS",
        accessible=True,
        maintenance_mode="normal",
        capacity_bytes=100,
        free_bytes=free,
        hosts_read_write=frozenset(),
        datacenter="dc",
    )


def most_free(reserved: Counter[str]) -> DatastoreInfo:
    found = (datastore("a", 50), datastore("b", 45))
    return max(found, key=lambda each: each.free_bytes - reserved[each.moid])


def test_two_at_once_do_not_take_the_same_room() -> None:
    reservations = Reservations()
    with reservations.choose(most_free, 10) as first, reservations.choose(most_free, 10) as second:
        assert (first.name, second.name) == ("a", "b")
    with reservations.choose(most_free, 10) as later:
        assert later.name == "a"


def test_a_failure_gives_the_room_back() -> None:
    reservations = Reservations()
    with pytest.raises(ZeroDivisionError), reservations.choose(most_free, 10):
        raise ZeroDivisionError
    with reservations.choose(most_free, 10) as later:
        assert later.name == "a"
