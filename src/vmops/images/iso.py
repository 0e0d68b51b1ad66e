"""Writes small ISO 9660 images with Rock Ridge and Joliet names, so that every guest reads them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

_NOT_D_CHARACTERS = re.compile(r"[^A-Z0-9_]")


def build_iso(label: str, files: Mapping[str, bytes]) -> bytes:
    """An ISO image with these files, by their path: "openstack/latest/user_data".

    Rock Ridge and Joliet carry the names as they are. The plain ISO 9660 names, which have capital
    letters, digits and underscores only (ECMA-119, 7.4.1), are made from them.
    """
    import pycdlib  # noqa: PLC0415 - slow to import, and few spawns need it

    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident=label, joliet=3, rock_ridge="1.09")
    try:
        folders = {parent for path in files for parent in PurePosixPath(path).parents}
        for folder in sorted(folders - {PurePosixPath(".")}):
            image.add_directory(
                _plain(folder), rr_name=folder.name, joliet_path=f"/{folder}", file_mode=0o040755
            )
        for path, content in sorted(files.items()):
            file = PurePosixPath(path)
            image.add_fp(
                io.BytesIO(content),
                len(content),
                f"{_plain(file.parent)}/{_plain_file(file)};1".replace("//", "/"),
                rr_name=file.name,
                joliet_path=f"/{file}",
                file_mode=0o100644,
            )
        written = io.BytesIO()
        image.write_fp(written)
    finally:
        image.close()
    return written.getvalue()


def _plain(folder: PurePosixPath) -> str:
    return "/" + "/".join(_d_characters(part) for part in folder.parts)


def _plain_file(file: PurePosixPath) -> str:
    return f"{_d_characters(file.stem)}.{_d_characters(file.suffix[1:])}"


def _d_characters(name: str) -> str:
    return _NOT_D_CHARACTERS.sub("_", name.upper())
