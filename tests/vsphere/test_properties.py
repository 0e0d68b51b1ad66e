from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.vsphere.conftest import Place
from tests.vsphere.interposer import Interposer
from vmops.errors import ManagedObjectNotFound
from vmops.vsphere.live.properties import Properties
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import moid


@pytest.fixture
def folders(lab: Place) -> Iterator[tuple[Session, Any, list[Any]]]:
    """Twenty-five folders, which cost less than virtual machines."""
    with lab.connect() as session:
        above = session.inventory.datacenters()[0].vm_folder
        root = session.call(above, "CreateFolder", name="many")
        made = [session.call(root, "CreateFolder", name=f"f{n}") for n in range(25)]
        yield session, root, made
        session.run_task(root, "Destroy_Task")


def test_reads_all_pages_in_as_few_calls_as_there_are_pages(
    folders: tuple[Session, Any, list[Any]],
) -> None:
    session, root, made = folders
    reader = Properties(session.client, page_size=10)
    before = session.counts
    found = reader.read_container("Folder", ("name",), root)
    used = session.counts - before
    assert sorted(each["name"] for each in found.values()) == sorted(f"f{n}" for n in range(25))
    assert {moid(each[""]) for each in found.values()} == {moid(each) for each in made}
    assert used["RetrievePropertiesEx"] == 1
    assert used["ContinueRetrievePropertiesEx"] == 2
    assert used["DestroyView"] == 1


def test_an_object_that_is_gone_is_absent_and_spoils_nothing(
    folders: tuple[Session, Any, list[Any]],
) -> None:
    session, _, made = folders
    asked = [made[0], vim.Folder("group-gone"), made[1], vim.Folder("group-gone2")]
    found = session.properties.read(asked, "Folder", ("name",))
    assert {each["name"] for each in found.values()} == {"f0", "f1"}
    assert session.properties.read(asked[1::2], "Folder", ("name",)) == {}
    assert session.properties.read([], "Folder", ("name",)) == {}


def test_what_is_unset_is_absent(session: Session) -> None:
    found = session.properties.read_one(session.content.rootFolder, "name", "parent", "name")
    assert found.keys() == {"name"}


def test_reading_one_that_is_gone_says_so(session: Session) -> None:
    with pytest.raises(ManagedObjectNotFound, match="VirtualMachine:vm-gone"):
        session.properties.read_one(vim.VirtualMachine("vm-gone"), "name")


def test_a_read_begins_anew_where_a_page_is_lost(
    disturbed: Session, between: Interposer, folders: tuple[Session, Any, list[Any]]
) -> None:
    _, root, _ = folders
    reader = Properties(disturbed.client, page_size=10)
    between.rule("ContinueRetrievePropertiesEx", "after", "cut")
    found = reader.read_container("Folder", ("name",), vim.Folder(moid(root)))
    assert len(found) == 25
    assert between.calls["RetrievePropertiesEx"] == 2
