from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmops.lab.storage.errors import InvalidDatastorePath, StorageError
from vmops.lab.storage.paths import DatastorePath

WANTED = st.characters(
    exclude_categories=("Cc", "Cs", "Zl", "Zp"),
    exclude_characters="/\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)
SEGMENTS = st.text(WANTED, min_size=1, max_size=40).filter(lambda text: text not in {".", ".."})
DATASTORES = st.text(WANTED, min_size=1, max_size=20).filter(
    lambda text: text.strip() and not set(text) & set("[]")
)


@given(DATASTORES, st.lists(SEGMENTS, max_size=5))
def test_what_is_shown_is_read_back(datastore: str, segments: list[str]) -> None:
    assume(all(len(unicodedata.normalize("NFC", name).encode()) <= 255 for name in segments))
    path = DatastorePath(datastore, "/".join(segments))

    assert DatastorePath.parse(str(path)) == path
    assert path.segments == tuple(unicodedata.normalize("NFC", name) for name in segments)
    assert DatastorePath.parse_vmfs(path.vmfs_form) == path


@given(st.text(max_size=60))
def test_any_text_is_a_safe_path_or_refused(text: str) -> None:
    try:
        path = DatastorePath.parse(text)
    except InvalidDatastorePath:
        pass
    else:
        assert ".." not in path.segments
        assert not path.path.startswith("/")
        assert "\0" not in path.path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[ds] a/b.vmdk", ("ds", "a/b.vmdk")),
        ("[ds]a", ("ds", "a")),
        ("[ds]", ("ds", "")),
        ("[ds] ", ("ds", "")),
        ("[ds] folder/", ("ds", "folder")),
        ("[ds] a//./b", ("ds", "a/b")),
        ("[ds]  leading blank", ("ds", " leading blank")),
        ("[ds] e\u0301", ("ds", "\u00e9")),
        ("[ds] a%2f..%2fb", ("ds", "a%2f..%2fb")),
        ("[ds] *?[x]", ("ds", "*?[x]")),
    ],
)
def test_forms_that_clients_send(text: str, expected: tuple[str, str]) -> None:
    path = DatastorePath.parse(text)
    assert (path.datastore, path.path) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b",
        "[] a",
        "[ ] a",
        "[ds",
        "[a[b] c",
        "[a/b] c",
        "[ds] ..",
        "[ds] ../x",
        "[ds] a/../../x",
        "[ds] /etc/passwd",
        "[ds] a\0b",
        "[ds] a\nb",
        "[ds] a\x85b",
        "[ds] \u202egnp.exe",
        "[ds] a\u2028b",
        "[d\0s] a",
        "[ds] " + "x" * 256,
        "[ds] " + "\u00e9" * 128,
        "[ds] " + "/".join(["folder"] * 400),
        "[ds] \ud800",
    ],
)
def test_a_path_that_could_do_harm_is_refused(text: str) -> None:
    with pytest.raises(InvalidDatastorePath) as caught:
        DatastorePath.parse(text)
    assert isinstance(caught.value, StorageError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", ["a//b", "a/", "./a", "/a", "../a", "."])
def test_a_path_is_made_only_in_its_one_form(path: str) -> None:
    with pytest.raises(InvalidDatastorePath):
        DatastorePath("ds", path)


def test_relations() -> None:
    path = DatastorePath("ds", "a/b.vmdk")
    assert path.name == "b.vmdk"
    assert path.parent == DatastorePath("ds", "a")
    assert path.parent.parent == DatastorePath("ds") == DatastorePath("ds").parent
    assert path.parent.joined("c/d") == DatastorePath("ds", "a/c/d")
    assert path.sibling("c") == DatastorePath("ds", "a/c")
    assert DatastorePath("ds").joined("x") == DatastorePath("ds", "x")


@pytest.mark.parametrize("name", ["", "..", "../x", "/x", "a/../b", "a\0"])
def test_joining_cannot_leave_the_folder(name: str) -> None:
    with pytest.raises(InvalidDatastorePath):
        DatastorePath("ds", "a").joined(name)


@pytest.mark.parametrize("name", ["", "a/b", "..", "/x"])
def test_a_sibling_is_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidDatastorePath):
        DatastorePath("ds", "a/b").sibling(name)


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "/vmfs/volumes/ds/../x", "/vmfs/volumes//x", "x.vmdk", ""]
)
def test_the_form_inside_descriptors_cannot_leave_either(text: str) -> None:
    with pytest.raises(InvalidDatastorePath):
        DatastorePath.parse_vmfs(text)
