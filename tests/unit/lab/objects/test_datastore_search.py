import os
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from vmops.lab.objects.datastore_search import Search, search_folder, search_tree
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import FileMissing
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

browser = vim.host.DatastoreBrowser


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ds/vm").mkdir(parents=True)
    return tmp_path / "ds"


@pytest.fixture
def volumes(root: Path) -> Volumes:
    volumes = Volumes({"ds": root})
    store = DiskStore(volumes)
    parent = DatastorePath.parse("[ds] vm/vm.vmdk")
    store.create(parent, 10 * 1024**2, provisioning="thin", adapter="ide")
    store.create_child(DatastorePath.parse("[ds] vm/vm-000001.vmdk"), parent)
    for name, content in {
        "vm.vmx": b"v",
        "vm.nvram": b"nn",
        "vmware.log": b"lll",
        "cd.ISO": b"iiii",
        "notes.txt": b"",
        ".vmops-abc.partial": b"half",
    }.items():
        (root / "vm" / name).write_bytes(content)
    (root / "vm/sub").mkdir()
    (root / "vm/link.iso").symlink_to("/etc/hostname")
    return volumes


def details(**flags: bool) -> browser.FileInfo.Details:
    known = dict.fromkeys(("fileType", "fileSize", "modification", "fileOwner"), False)
    return browser.FileInfo.Details(**{**known, **flags})


def search(volumes: Volumes, path: str = "[ds] vm", **spec: Any) -> list[Any]:
    wanted = Search.of_spec(browser.SearchSpec(**spec) if spec else None)
    [(_, files)] = search_folder(volumes, DatastorePath.parse(path), wanted)
    return files


def paths(files: list[Any]) -> list[str]:
    return [each.path for each in files]


def test_without_a_specification_all_names_are_found_and_nothing_else(volumes: Volumes) -> None:
    files = search(volumes)
    assert paths(files) == [
        "cd.ISO",
        "notes.txt",
        "sub",
        "vm-000001-delta.vmdk",
        "vm-000001.vmdk",
        "vm-flat.vmdk",
        "vm.nvram",
        "vm.vmdk",
        "vm.vmx",
        "vmware.log",
    ]
    assert {type(each) for each in files} == {browser.FileInfo}
    assert {(each.fileSize, each.modification, each.owner) for each in files} == {
        (None, None, None)
    }


def test_a_disk_query_finds_disks_not_their_parts(volumes: Volumes) -> None:
    query = browser.VmDiskQuery(
        details=browser.VmDiskQuery.Details(
            capacityKb=True,
            diskType=True,
            hardwareVersion=True,
            thin=True,
            controllerType=True,
            diskExtents=True,
        )
    )
    child, disk = search(volumes, query=[query])
    assert (child.path, disk.path) == ("vm-000001.vmdk", "vm.vmdk")
    assert type(disk) is browser.VmDiskInfo
    assert disk.capacityKb == 10 * 1024
    assert disk.thin is True
    assert disk.controllerType is vim.vm.device.VirtualIDEController
    assert disk.diskType is vim.vm.device.VirtualDisk.FlatVer2BackingInfo
    assert disk.diskExtents == ["vm-flat.vmdk"]
    assert disk.hardwareVersion == 21
    assert child.diskType is vim.vm.device.VirtualDisk.SparseVer2BackingInfo


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"thin": False}, []),
        ({"thin": True}, ["vm-000001.vmdk", "vm.vmdk"]),
        ({"controllerType": [vim.vm.device.VirtualLsiLogicController]}, []),
        ({"diskType": [vim.vm.device.VirtualDisk.FlatVer2BackingInfo]}, ["vm.vmdk"]),
    ],
)
def test_a_filter_of_the_disk_query_counts(
    volumes: Volumes, wanted: dict[str, Any], found: list[str]
) -> None:
    query = browser.VmDiskQuery(filter=browser.VmDiskQuery.Filter(**wanted))
    assert paths(search(volumes, query=[query])) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (browser.FolderQuery, ["sub"]),
        (browser.IsoImageQuery, ["cd.ISO"]),
        (browser.VmConfigQuery, ["vm.vmx"]),
        (browser.VmLogQuery, ["vmware.log"]),
        (browser.VmNvramQuery, ["vm.nvram"]),
        (browser.FloppyImageQuery, []),
    ],
)
def test_each_query_finds_its_kind(volumes: Volumes, query: type[Any], found: list[str]) -> None:
    assert paths(search(volumes, query=[query()])) == found


def test_a_plain_query_and_the_type_flag_tell_the_kinds(volumes: Volumes) -> None:
    for spec in ({"query": [browser.Query()]}, {"details": details(fileType=True)}):
        kinds = {each.path: type(each) for each in search(volumes, **spec)}
        assert kinds["sub"] is browser.FolderInfo
        assert kinds["vm.vmdk"] is browser.VmDiskInfo
        assert kinds["vm-flat.vmdk"] is browser.FileInfo
        assert kinds["notes.txt"] is browser.FileInfo


def test_patterns_are_globs_and_mind_case_unless_told(volumes: Volumes) -> None:
    assert paths(search(volumes, matchPattern=["*.iso"])) == []
    assert paths(search(volumes, matchPattern=["*.iso"], searchCaseInsensitive=True)) == ["cd.ISO"]
    assert paths(search(volumes, matchPattern=["vm.vm?", "n*"])) == ["notes.txt", "vm.vmx"]
    assert paths(search(volumes, matchPattern=["vm-flat.vmdk"])) == ["vm-flat.vmdk"]
    assert paths(search(volumes, matchPattern=["vm.*"], query=[browser.VmDiskQuery()])) == [
        "vm.vmdk"
    ]


def test_sizes_times_and_owners_only_when_asked(volumes: Volumes, root: Path) -> None:
    os.utime(root / "vm/vm.nvram", (1_600_000_000, 1_600_000_000))
    asked = details(fileSize=True, modification=True, fileOwner=True)
    [file] = search(volumes, matchPattern=["vm.nvram"], details=asked)
    assert file.fileSize == 2
    assert file.modification.timestamp() == 1_600_000_000
    assert file.owner == "root"
    [flat] = search(volumes, matchPattern=["vm-flat.vmdk"], details=asked)
    assert flat.fileSize == 10 * 1024**2
    [disk] = search(volumes, query=[browser.VmDiskQuery()], matchPattern=["vm.vmdk"], details=asked)
    assert disk.fileSize < 1024**2, "a thin disk counts what it occupies"


def test_a_file_that_only_claims_to_be_a_disk_is_listed_without_details(
    volumes: Volumes, root: Path
) -> None:
    (root / "vm/bad.vmdk").write_bytes(b"\0" * 100)
    query = browser.VmDiskQuery(
        details=browser.VmDiskQuery.Details(capacityKb=True, diskType=True, hardwareVersion=True)
    )
    [bad] = search(volumes, query=[query], matchPattern=["bad.vmdk"])
    assert bad.capacityKb is None


def test_folders_first(volumes: Volumes) -> None:
    found = search(volumes, sortFoldersFirst=True, details=details(fileType=True))
    assert found[0].path == "sub"


def test_a_tree_has_an_entry_for_each_folder(volumes: Volumes, root: Path) -> None:
    (root / "vm/sub/deep.iso").write_bytes(b"x")
    (root / "vm/.vmops-x.partial2").mkdir()
    (root / ".vmops-x.partial").mkdir()
    wanted = Search.of_spec(browser.SearchSpec(query=[browser.IsoImageQuery()]))
    found = search_tree(volumes, DatastorePath("ds"), wanted)
    assert {str(folder): paths(files) for folder, files in found} == {
        "[ds] ": [],
        "[ds] vm": ["cd.ISO"],
        "[ds] vm/sub": ["deep.iso"],
        "[ds] vm/.vmops-x.partial2": [],
    }


def test_a_missing_folder_and_a_file_are_no_folders(volumes: Volumes) -> None:
    for path in ("[ds] no", "[ds] vm/vm.vmx"):
        for function in (search_folder, search_tree):
            with pytest.raises(FileMissing):
                function(volumes, DatastorePath.parse(path), Search())
