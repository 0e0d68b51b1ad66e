"""What a datastore search finds: kinds of files, filters, and the details asked for.

Blocking functions for a thread; `Search` is a parsed HostDatastoreBrowserSearchSpec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import translate
from pathlib import Path
from typing import Any, Self

from pyVmomi import vim

from vmops.lab import listing
from vmops.lab.storage.datastore_files import allocated_bytes, existing
from vmops.lab.storage.descriptor import LARGEST_DESCRIPTOR, Descriptor, DescriptorError
from vmops.lab.storage.errors import FileMissing, InvalidDatastorePath
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes
from vmops.lab.whole_files import is_partial
from vmops.numbers import whole_number

_browser = vim.host.DatastoreBrowser
_Info = _browser.FileInfo
_Query = _browser.Query
_Details = _browser.FileInfo.Details

# Files that belong to a disk's descriptor: no disks themselves.
_DISK_PARTS = re.compile(r"-(flat|delta|sesparse|ctk|rdm|rdmp|[sf]\d{3})\.vmdk$", re.IGNORECASE)
_KINDS: tuple[tuple[str, type[_Query], type[_Info]], ...] = (
    (".vmx", _browser.VmConfigQuery, _browser.VmConfigInfo),
    (".vmtx", _browser.TemplateVmConfigQuery, _browser.TemplateVmConfigInfo),
    (".vmdk", _browser.VmDiskQuery, _browser.VmDiskInfo),
    (".vmsn", _browser.VmSnapshotQuery, _browser.VmSnapshotInfo),
    (".nvram", _browser.VmNvramQuery, _browser.VmNvramInfo),
    (".log", _browser.VmLogQuery, _browser.VmLogInfo),
    (".iso", _browser.IsoImageQuery, _browser.IsoImageInfo),
    (".flp", _browser.FloppyImageQuery, _browser.FloppyImageInfo),
)
_CONTROLLERS: dict[str, Any] = {
    "ide": vim.vm.device.VirtualIDEController,
    "buslogic": vim.vm.device.VirtualBusLogicController,
    "lsilogic": vim.vm.device.VirtualLsiLogicController,
}
_FLAT_FORMAT = vim.vm.device.VirtualDisk.FlatVer2BackingInfo
_DELTA_FORMAT = vim.vm.device.VirtualDisk.SparseVer2BackingInfo


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; no queries: every file, of no particular kind."""

    queries: tuple[_Query, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    details: _Details | None = None
    folders_first: bool = False

    @classmethod
    def of_spec(cls, spec: vim.host.DatastoreBrowser.SearchSpec | None) -> Self:
        """Read a search specification, None for the defaults."""
        if spec is None:
            return cls()
        flags = re.IGNORECASE if spec.searchCaseInsensitive else re.NOFLAG
        return cls(
            queries=tuple(spec.query or ()),
            patterns=tuple(re.compile(translate(text), flags) for text in spec.matchPattern or ()),
            details=spec.details,
            folders_first=bool(spec.sortFoldersFirst),
        )

    def matches(self, name: str) -> bool:
        """Say whether a name fits one of the patterns, if there are any."""
        return not self.patterns or any(each.fullmatch(name) for each in self.patterns)


def search_folder(
    volumes: Volumes, path: DatastorePath, search: Search
) -> list[tuple[DatastorePath, list[_Info]]]:
    """Return the folder with the FileInfo of what matches in it.

    Raises:
        FileMissing: there is no such folder.
    """
    folder = existing(volumes, path)
    if not folder.is_dir():
        raise FileMissing(path)
    return [(path, _found(folder, search))]


def search_tree(
    volumes: Volumes, path: DatastorePath, search: Search
) -> list[tuple[DatastorePath, list[_Info]]]:
    """Return each folder from this one down with the FileInfo of what matches in it.

    Raises:
        FileMissing: there is no such folder.
    """
    top = existing(volumes, path)
    if not top.is_dir():
        raise FileMissing(path)
    results = []
    for folder, folders, _ in listing.tree(top):
        folders[:] = sorted(name for name in folders if not is_partial(name))
        with suppress(InvalidDatastorePath):  # a name no client could say
            results.append((volumes.locate(folder), _found(folder, search)))
    return results


def _found(folder: Path, search: Search) -> list[_Info]:
    infos = []
    for file in _entries(folder):
        if search.matches(file.name):
            try:
                info = _info(file, search)
            except FileNotFoundError:  # deleted while we look
                continue
            if info is not None:
                infos.append(info)
    if search.folders_first:
        infos.sort(key=lambda info: not isinstance(info, _browser.FolderInfo))
    return infos


def _entries(folder: Path) -> Iterator[Path]:
    for entry in listing.entries(folder):
        # A symbolic link is nothing that vSphere put there, and may lead anywhere.
        if not is_partial(entry.name) and not entry.is_symlink():
            yield Path(entry.path)


def _info(file: Path, search: Search) -> _Info | None:
    """Build the file's FileInfo, None if no query wants it."""
    query_type, info_type = _kind(file)
    if not search.queries:
        is_typed = search.details is not None and search.details.fileType
        return _described(file, info_type if is_typed else _browser.FileInfo, None, search.details)
    for query in search.queries:
        if type(query) is _browser.Query:
            return _described(file, info_type, None, search.details)
        if query_type is not None and isinstance(query, query_type):
            info = _described(file, info_type, query, search.details)
            if info is not None:
                return info
    return None


def _kind(file: Path) -> tuple[type[_Query] | None, type[_Info]]:
    if file.is_dir():
        return _browser.FolderQuery, _browser.FolderInfo
    name = file.name.lower()
    for ending, query, info in _KINDS:
        if name.endswith(ending) and not _DISK_PARTS.search(name):
            return query, info
    return None, _browser.FileInfo


def _described(
    file: Path, info_type: type[_Info], query: _Query | None, details: _Details | None
) -> _Info | None:
    info = info_type(path=file.name)
    status = file.stat()
    if details is not None:
        if details.fileSize:
            info.fileSize = 0 if file.is_dir() else status.st_size
        if details.modification:
            info.modification = datetime.fromtimestamp(status.st_mtime, UTC)
        if details.fileOwner:
            info.owner = "root"
    if isinstance(info, _browser.VmDiskInfo):
        of_disks = query if isinstance(query, _browser.VmDiskQuery) else None
        return info if _describe_disk(file, info, of_disks, details) else None
    if (
        isinstance(info, _browser.VmConfigInfo)
        and isinstance(query, _browser.VmConfigQuery)
        and query.details is not None
    ):
        info.configVersion = 8 if query.details.configVersion else None
    return info


def _describe_disk(
    file: Path,
    info: _browser.VmDiskInfo,
    query: _browser.VmDiskQuery | None,
    details: _Details | None,
) -> bool:
    """Fill in what is asked about a disk; False if the query's filter is against it."""
    disk = _descriptor(file)
    if disk is None:
        # A hosted sparse or damaged file: listed, but nothing is known of it.
        return query is None or query.filter is None
    extents = [file.with_name(each.file_name) for each in disk.extents if each.file_name]
    if details is not None and details.fileSize:
        info.fileSize = sum(allocated_bytes(each) for each in (file, *extents) if each.is_file())
    is_thin = disk.parent_hint is not None or disk.ddb.get("thinProvisioned") == "1"
    disk_type = _FLAT_FORMAT if disk.parent_hint is None else _DELTA_FORMAT
    controller = _CONTROLLERS.get(disk.ddb.get("adapterType", "").lower(), _CONTROLLERS["lsilogic"])
    version = whole_number(disk.ddb.get("virtualHWVersion", ""), 999)
    if query is None:
        return True
    if query.filter is not None:
        wanted = query.filter
        if (
            (wanted.thin is not None and wanted.thin != is_thin)
            or (wanted.controllerType and controller not in wanted.controllerType)
            or (wanted.diskType and disk_type not in wanted.diskType)
            or (wanted.matchHardwareVersion and version not in wanted.matchHardwareVersion)
        ):
            return False
    asked = query.details
    if asked is not None:
        info.capacityKb = disk.capacity_bytes // 1024 if asked.capacityKb else None
        info.thin = is_thin if asked.thin else None
        info.diskType = disk_type if asked.diskType else None
        info.controllerType = controller if asked.controllerType else None
        info.hardwareVersion = version if asked.hardwareVersion else None
        if asked.diskExtents:
            info.diskExtents = [each.name for each in extents]
    return True


def _descriptor(file: Path) -> Descriptor | None:
    with file.open("rb") as stream:
        content = stream.read(LARGEST_DESCRIPTOR + 1)
    try:
        return Descriptor.parse(content)
    except DescriptorError:
        return None
