"""What is in folders while others make and delete there: who vanishes meanwhile is left out.

Whoever looks at a folder looks here; `pathlib` and `os` raise FileNotFoundError in the middle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def entries(folder: Path, ending: str = "") -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name; nothing where the folder is gone.

    What an entry says of itself without a look at the disk, `is_dir` and `is_symlink`, never
    raises; for the rest see `status`.
    """
    found: list[os.DirEntry[str]] = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listed:
        found += (entry for entry in listed if entry.name.endswith(ending))
    return sorted(found, key=lambda entry: entry.name)


def files(folder: Path, ending: str = "") -> list[Path]:
    """Return the paths of what is in a folder, by name, with this ending."""
    return [Path(entry.path) for entry in entries(folder, ending)]


def tree(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder from ``top`` down, with its folders, which may be taken out, and files.

    Symbolic links are not followed.
    """
    for folder, folders, names in os.walk(top):
        yield Path(folder), folders, names


def below(top: Path, ending: str) -> Iterator[Path]:
    """Yield the files with this ending from ``top`` down, no symbolic links, in order."""
    for folder, folders, names in tree(top):
        folders.sort()
        for name in sorted(names):
            file = folder / name
            if name.endswith(ending) and not file.is_symlink():
                yield file


def status(file: Path) -> os.stat_result | None:
    """Return what the file system says of a file, a link itself; None where it is gone."""
    try:
        return file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove_tree(top: Path) -> None:
    """Delete a folder with all that is in it, also while others delete there.

    Raises:
        OSError: something cannot be deleted; what came before it is gone.
    """
    for folder, folders, names in os.walk(top, topdown=False):
        for name in names:
            Path(folder, name).unlink(missing_ok=True)
        for name in folders:
            _remove_folder(Path(folder, name))
    _remove_folder(top)


def _remove_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):
        if folder.is_symlink():
            folder.unlink()
        else:
            folder.rmdir()
