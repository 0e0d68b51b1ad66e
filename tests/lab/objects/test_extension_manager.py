"""The extension manager, which only a vCenter has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client

KEY = "org.example.manager"
NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def extension(**changes: Any) -> vim.Extension:
    fields = {
        "key": KEY,
        "version": "1.0",
        "description": vim.Description(label="Example", summary="An example"),
        "lastHeartbeatTime": NOW,
        "managedEntityInfo": [vim.ext.ManagedEntityInfo(type="instance")],
    }
    return vim.Extension(**fields | changes)


@pytest.fixture
def manager(client: Client) -> Iterator[Any]:
    manager = client.content.extensionManager
    yield manager
    for each in manager.extensionList:
        manager.UnregisterExtension(each.key)


def test_an_extension_from_its_registration_to_its_end(manager: Any) -> None:
    assert manager.FindExtension(KEY) is None
    manager.RegisterExtension(extension())
    found = manager.FindExtension(KEY)
    assert (found.version, found.description.label, found.lastHeartbeatTime) == (
        "1.0",
        "Example",
        NOW,
    )
    assert [each.type for each in found.managedEntityInfo] == ["instance"]
    manager.UpdateExtension(extension(version="2.0"))
    assert [(each.key, each.version) for each in manager.extensionList] == [(KEY, "2.0")]
    manager.UnregisterExtension(KEY)
    assert manager.extensionList == []


def test_a_key_is_registered_once(manager: Any) -> None:
    manager.RegisterExtension(extension())
    with pytest.raises(vmodl.fault.InvalidArgument) as raised:
        manager.RegisterExtension(extension(version="2.0"))
    assert raised.value.invalidProperty == "extension.key"
    assert manager.FindExtension(KEY).version == "1.0"


def test_what_is_not_registered_is_neither_updated_nor_removed(manager: Any) -> None:
    with pytest.raises(vim.fault.NotFound):
        manager.UpdateExtension(extension())
    with pytest.raises(vim.fault.NotFound):
        manager.UnregisterExtension(KEY)


def test_a_key_is_not_empty(manager: Any) -> None:
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.RegisterExtension(extension(key=""))


def test_a_time_without_a_zone_is_utc(manager: Any) -> None:
    manager.RegisterExtension(extension(lastHeartbeatTime=NOW.replace(tzinfo=None)))
    assert manager.FindExtension(KEY).lastHeartbeatTime == NOW


def test_a_single_host_has_none(esx: Client) -> None:
    assert esx.content.extensionManager is None
