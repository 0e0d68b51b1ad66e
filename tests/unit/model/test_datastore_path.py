"""Datastore paths: what they are, and that they never leave the datastore."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.errors import InvalidName
from vmops.model.datastore_path import DatastorePath, check_file_name


@pytest.mark.parametrize(
    ("text", "datastore", "path"),
    [
        ("[ds1] web1/web1.vmdk", "ds1", "web1/web1.vmdk"),
        ("[my store] a", "my store", "a"),
        ("[ds1]", "ds1", ""),
        ("[ds1] a/", "ds1", "a"),
        ("[ds1] a//b", "ds1", "a/b"),
        ("[ds1] a b/c d.vmdk", "ds1", "a b/c d.vmdk"),
    ],
)
def test_parse(text: str, datastore: str, path: str) -> None:
    found = DatastorePath.parse(text)
    assert (found.datastore, found.path) == (datastore, path)


@pytest.mark.parametrize(
    "text",
    ["", "ds1/web1", "[] a", "[ds1] ../x", "[ds1] a/../../x", "[ds1] /etc/passwd", "[a/b] c",
     "[ds1] a\nb", "[ds1] a\0b", "[ds[1] a", "[ds1] .."],
)  # fmt: skip
def test_what_is_malformed_or_leaves_the_datastore_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        DatastorePath.parse(text)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "[a", "a]", "a\nb", "a\u202eb", "x" * 201, "\u00e9" * 101],
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_file_name(name)
    with pytest.raises(InvalidName):
        DatastorePath("ds").joined(name)


names = st.text(min_size=1, max_size=30).filter(lambda n: n.strip(" /") == n)


@given(datastore=names, parts=st.lists(names, min_size=1, max_size=4))
def test_a_path_that_is_accepted_survives_the_wire(datastore: str, parts: list[str]) -> None:
    try:
        path = DatastorePath(datastore).joined(*parts)
    except InvalidName:
        return
    assert DatastorePath.parse(str(path)) == path
    assert path.is_below(DatastorePath(datastore))
    assert ".." not in path.path.split("/")


def test_relatives() -> None:
    disk = DatastorePath.parse("[ds] web1/web1.vmdk")
    assert str(disk.flat) == "[ds] web1/web1-flat.vmdk"
    assert str(disk.sparse) == "[ds] web1/web1-sparse.vmdk"
    assert str(disk.parent) == "[ds] web1"
    assert str(disk.parent.parent) == "[ds]"
    assert disk.name == "web1.vmdk"
    assert disk.is_below(disk.parent)
    assert not DatastorePath.parse("[ds] web10/x").is_below(DatastorePath.parse("[ds] web1"))
    assert not DatastorePath.parse("[ds2] web1/x").is_below(DatastorePath.parse("[ds] web1"))
