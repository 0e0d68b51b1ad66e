"""The project speaks of itself alone, not of the machine it was written on."""

from __future__ import annotations

import re

from tests.architecture import source

# Written apart, so that this file does not name what it looks for.
HOMES = ["/" + "root/", "/" + "work/", "/" + "farm/", r"/(?:home|Users)/[a-z]+/"]
FORBIDDEN = re.compile("|".join(HOMES).encode())


def test_no_tracked_file_names_a_folder_of_one_machine() -> None:
    found = [
        f"{path.relative_to(source.PROJECT)}: {match.group().decode()}"
        for path in source.tracked_files()
        if (match := FORBIDDEN.search(path.read_bytes()))
    ]
    assert found == []


def test_the_search_sees_such_a_folder() -> None:
    assert FORBIDDEN.search(b"see /home/" + b"somebody/notes")
    assert not FORBIDDEN.search(b"[ds1] web1/root.vmdk and ./work")
