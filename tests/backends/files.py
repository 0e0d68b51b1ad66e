"""The files of a datastore that is a directory of this machine."""

from __future__ import annotations

from pathlib import Path

from vmops.model.datastore_path import DatastorePath

TEMPORARY = "/tmp-"  # noqa: S108 - what the image cache calls its unfinished entries


def tree(root: Path) -> dict[str, int]:
    """Every file with its size and every folder with -1, by path below the root."""
    return {
        str(path.relative_to(root)): path.stat().st_size if path.is_file() else -1
        for path in sorted(root.rglob("*"))
    }


def used(root: Path) -> int:
    """Bytes that the files occupy."""
    return sum(path.stat().st_blocks * 512 for path in root.rglob("*"))


def local(root: Path, path: str) -> Path:
    """The file of "[datastore] folder/file"."""
    return root / DatastorePath.parse(path).path


def flat_of(descriptor: Path) -> Path:
    """The data file that a flat disk's descriptor names."""
    for line in descriptor.read_text().splitlines():
        if line.startswith("RW "):
            return descriptor.parent / line.split('"')[1]
    raise AssertionError(f"{descriptor} names no extent")


def is_delta(descriptor: Path) -> bool:
    """Whether a disk is a child of another one."""
    return "parentFileNameHint" in descriptor.read_text()
