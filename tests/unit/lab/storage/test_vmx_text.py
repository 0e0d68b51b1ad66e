"""The text of .vmx files, whatever is in it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.lab.storage.errors import InvalidDatastorePath
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.uuids import dashed_uuid, spaced_uuid
from vmops.lab.storage.vmx_text import Entries, path_of, read_text, render_text, vmx_file_name

FOLDER = DatastorePath("ds", "vm")
keys = st.from_regex(r"[a-zA-Z][a-zA-Z0-9.:_-]{0,20}", fullmatch=True)
SURROGATES: list[Literal["Cs"]] = ["Cs"]
values = st.text(
    st.characters(exclude_categories=SURROGATES, exclude_characters="\x85\u2028\u2029")
)


@given(st.dictionaries(keys.map(str.lower), values, max_size=8))
def test_what_is_written_is_read(entries: dict[str, str]) -> None:
    assert dict(read_text(render_text(entries))) == entries


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    read_text(text)


def test_keys_count_in_any_case() -> None:
    entries = read_text('memSize = "1"\nMEMSIZE = "2"\n')

    assert len(entries) == 1
    assert entries.take_int("memsize") == 2
    assert entries.take_int("memsize") is None


def test_files_beside_are_plain_names_and_others_are_below_vmfs() -> None:
    beside, elsewhere = FOLDER.joined("d.vmdk"), DatastorePath("other", "x/d.vmdk")

    assert vmx_file_name(beside, FOLDER) == "d.vmdk"
    assert vmx_file_name(elsewhere, FOLDER) == "/vmfs/volumes/other/x/d.vmdk"
    for path in (beside, elsewhere):
        assert path_of(vmx_file_name(path, FOLDER), FOLDER) == path


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "/vmfs/volumes/ds/../../x", "", "a/../b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InvalidDatastorePath):
        path_of(name, FOLDER)


@given(st.uuids())
def test_uuids(uuid: UUID) -> None:
    assert dashed_uuid(spaced_uuid(str(uuid))) == str(uuid)
    assert dashed_uuid("no uuid") is None


def test_numbers_and_booleans_that_are_none() -> None:
    entries = Entries({"a": "x", "b": "TRUE", "c": "99999999999999999999999"})

    assert entries.take_int("a") is None
    assert entries.take_int("c") is None
    assert entries.take_bool("b")
    assert not entries.take_bool("missing")
