from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.lab.guest.cpio import Entry, character_device, directory, regular, symlink, write_cpio


def read_cpio(archive: bytes) -> list[tuple[str, int, bytes, tuple[int, int]]]:
    """An independent reader, after cpio(5): name, mode, content, device of each entry."""
    found: list[tuple[str, int, bytes, tuple[int, int]]] = []
    at = 0
    while True:
        header = archive[at : at + 110]
        assert header[:6] == b"070701"
        fields = [int(header[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        assert archive[at + 110 + name_size - 1] == 0
        at += 110 + name_size + (-(110 + name_size) % 4)
        content = archive[at : at + size]
        at += size + (-size % 4)
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found
        found.append((name, fields[1], content, (fields[9], fields[10])))


def test_each_kind_of_file() -> None:
    archive = write_cpio(
        [
            directory("dev"),
            character_device("dev/console", 5, 1),
            regular("init", b"#!/bin/sh\n", 0o755),
            symlink("bin", "usr/bin"),
        ]
    )
    assert read_cpio(archive) == [
        ("dev", stat.S_IFDIR | 0o755, b"", (0, 0)),
        ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
        ("init", stat.S_IFREG | 0o755, b"#!/bin/sh\n", (0, 0)),
        ("bin", stat.S_IFLNK | 0o777, b"usr/bin", (0, 0)),
    ]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_contents_of_any_length_come_back(contents: list[bytes]) -> None:
    entries = [regular(f"file{'x' * n}", content) for n, content in enumerate(contents)]
    assert [content for _, _, content, _ in read_cpio(write_cpio(entries))] == contents


@pytest.mark.parametrize("name", ["", "/init", "../init", "a/../../b"])
def test_names_that_leave_the_archive_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a name for an archive"):
        write_cpio([Entry(name=name, mode=stat.S_IFREG | 0o644)])


def test_a_name_may_come_once_only() -> None:
    with pytest.raises(ValueError, match="twice in the archive: init"):
        write_cpio([regular("init", b""), regular("init", b"")])
