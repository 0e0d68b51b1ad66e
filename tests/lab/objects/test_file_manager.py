"""FileManager and HostDatastoreBrowser over SOAP, seen from the datastore's directory."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.machines import virtual_machine
from tests.lab.specs import file_of, of_type

fault = vim.fault


@pytest.fixture
def manager(client: Client) -> Any:
    return client.content.fileManager


@contextmanager
def refused(kind: type[Any], **fields: Any) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    for name, value in fields.items():
        assert getattr(caught.value, name) == value
    assert caught.value.msg
    assert "/tmp" not in caught.value.msg  # noqa: S108 - no path of this machine


def test_make_directory(client: Client, manager: Any, folder: str) -> None:
    ds, dc = client.datastore, client.datacenter
    manager.MakeDirectory(f"[{ds}] {folder}/a", dc)
    assert (client.root() / folder / "a").is_dir()
    with refused(fault.FileAlreadyExists, file=f"[{ds}] {folder}/a"):
        manager.MakeDirectory(f"[{ds}] {folder}/a", dc)
    with refused(fault.FileNotFound, file=f"[{ds}] {folder}/b"):
        manager.MakeDirectory(f"[{ds}] {folder}/b/c", dc)
    manager.MakeDirectory(f"[{ds}] {folder}/b/c", dc, createParentDirectories=True)
    assert (client.root() / folder / "b/c").is_dir()


def test_a_vcenter_needs_the_datacenter_and_an_esxi_does_not(
    client: Client, esx: Client, folder: str
) -> None:
    ds = client.datastore
    with refused(vmodl.fault.InvalidArgument, invalidProperty="datacenter"):
        client.content.fileManager.MakeDirectory(f"[{ds}] {folder}/a")
    with refused(vmodl.fault.InvalidArgument, invalidProperty="sourceDatacenter"):
        client.content.fileManager.MoveDatastoreFile_Task(
            f"[{ds}] {folder}/a", None, f"[{ds}] {folder}/b", client.datacenter
        )
    esx.content.fileManager.MakeDirectory(f"[{esx.datastore}] by-esx")
    assert (esx.root() / "by-esx").is_dir()


def test_a_url_names_a_file_without_a_datacenter(client: Client, manager: Any, folder: str) -> None:
    manager.MakeDirectory(f"https://127.0.0.1{client.url(f'{folder}/by url')}")
    assert (client.root() / folder / "by url").is_dir()
    volume = client.datastores[client.datastore].summary.url
    assert volume.startswith("ds:///vmfs/volumes/")
    manager.MakeDirectory(f"{volume}{folder}/by-volume")
    assert (client.root() / folder / "by-volume").is_dir()
    for url in (
        "https://127.0.0.1/sdk",
        "https://127.0.0.1/folder/a?dcPath=no&dsName=no",
        f"https://127.0.0.1{client.url('a')}".replace("/folder/", "/folder/%2e%2e/"),
        "ds:///vmfs/volumes/no/a",
    ):
        with refused(fault.InvalidDatastorePath):
            manager.MakeDirectory(url)


BAD_PATHS = [
    "",
    "a/b",
    "[] a",
    "[{ds}",
    "[no such] a",
    "[{ds}] ../a",
    "[{ds}] a/../../b",
    "[{ds}] /etc",
    "[{ds}] a\u202eb",
    "[{ds}] .vmops-1.partial",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_bad_path_is_refused_by_every_method(client: Client, manager: Any, path: str) -> None:
    ds, dc = client.datastore, client.datacenter
    bad = path.format(ds=ds)
    browser = client.datastores[ds].browser
    calls: list[Callable[[], object]] = [
        lambda: manager.MakeDirectory(bad, dc),
        lambda: client.result(manager.DeleteDatastoreFile_Task(bad, dc)),
        lambda: client.result(manager.CopyDatastoreFile_Task(bad, dc, f"[{ds}] x", dc)),
        lambda: client.result(manager.MoveDatastoreFile_Task(f"[{ds}] x", dc, bad, dc)),
        lambda: client.result(browser.SearchDatastore_Task(bad)),
        lambda: browser.DeleteFile(bad),
    ]
    for call in calls:
        with pytest.raises((fault.InvalidDatastorePath, fault.FileNotFound)):
            call()


def test_delete_takes_folders_whole_and_of_a_disk_only_what_is_named(
    client: Client, own: Client, manager: Any, folder: str
) -> None:
    ds, dc, root = client.datastore, client.datacenter, client.root() / folder
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/c").write_text("x")
    for name in ("d.vmdk", "d-flat.vmdk"):
        (root / name).write_text("x")
    client.result(manager.DeleteDatastoreFile_Task(f"[{ds}] {folder}/a", dc))
    client.result(manager.DeleteDatastoreFile_Task(f"[{ds}] {folder}/d-flat.vmdk", dc))
    assert [each.name for each in root.iterdir()] == ["d.vmdk"]
    with refused(fault.FileNotFound, file=f"[{ds}] {folder}/a"):
        client.result(manager.DeleteDatastoreFile_Task(f"[{ds}] {folder}/a", dc))
    with refused(fault.CannotDeleteFile):
        task = own.content.fileManager.DeleteDatastoreFile_Task(f"[{ds}]", own.datacenter)
        own.result(task)


def test_copy_and_move_over_datastores(client: Client, manager: Any, folder: str) -> None:
    first, second = sorted(client.datastores)[:2]
    dc, root = client.datacenter, client.root(first) / folder
    (root / "a").mkdir()
    (root / "a/file").write_text("content")
    copied = f"[{second}] {folder}-copied"
    client.result(manager.CopyDatastoreFile_Task(f"[{first}] {folder}/a", dc, copied))
    assert (client.root(second) / f"{folder}-copied/file").read_text() == "content"
    with refused(fault.FileAlreadyExists, file=copied):
        client.result(manager.MoveDatastoreFile_Task(f"[{first}] {folder}/a", dc, copied, dc))
    moved = f"[{second}] {folder}-moved"
    client.result(manager.MoveDatastoreFile_Task(f"[{first}] {folder}/a", dc, moved, dc))
    assert (client.root(second) / f"{folder}-moved/file").read_text() == "content"
    assert not (root / "a").exists()
    with refused(fault.FileNotFound, file=f"[{first}] {folder}/a"):
        client.result(manager.MoveDatastoreFile_Task(f"[{first}] {folder}/a", dc, moved, dc))


def test_a_full_datastore_says_so(small: Client) -> None:
    (small.root() / "big").write_bytes(b"x" * 5_000_000)
    ds, dc = small.datastore, small.datacenter
    with refused(fault.NoDiskSpace, datastore=ds):
        small.result(
            small.content.fileManager.CopyDatastoreFile_Task(f"[{ds}] big", dc, f"[{ds}] copy", dc)
        )
    assert not (small.root() / "copy").exists()
    (small.root() / "big").unlink()


def test_many_who_fill_the_cache_at_once_get_one_and_already_exists(
    client: Client, manager: Any, folder: str
) -> None:
    ds, dc, root = client.datastore, client.datacenter, client.root() / folder
    for number in range(10):
        (root / f"{number}").mkdir()
        (root / f"{number}/image").write_text(str(number))
    tasks = [
        manager.MoveDatastoreFile_Task(f"[{ds}] {folder}/{n}", dc, f"[{ds}] {folder}/cache", dc)
        for n in range(10)
    ]
    faults = 0
    for task in tasks:
        try:
            client.result(task)
        except fault.FileAlreadyExists:
            faults += 1
    assert faults == 9
    assert [each.name for each in (root / "cache").iterdir()] == ["image"]


def test_files_of_a_running_machine_are_locked(client: Client, manager: Any, folder: str) -> None:
    ds, dc = client.datastore, client.datacenter
    with virtual_machine(client, folder, disk_mib=1) as vm:
        client.result(vm.PowerOnVM_Task())
        name = vm.config.files.vmPathName.split("] ")[1].rpartition("/")[0]
        [disk] = of_type(vm, vim.vm.device.VirtualDisk)
        descriptor = file_of(disk)
        flat = descriptor.replace(".vmdk", "-flat.vmdk")
        disks = client.content.virtualDiskManager
        browser = client.datastores[ds].browser
        calls: list[Callable[[], object]] = [
            lambda: client.result(manager.DeleteDatastoreFile_Task(descriptor, dc)),
            lambda: client.result(manager.DeleteDatastoreFile_Task(flat, dc)),
            lambda: client.result(manager.DeleteDatastoreFile_Task(f"[{ds}] {name}", dc)),
            lambda: client.result(manager.MoveDatastoreFile_Task(flat, dc, f"[{ds}] x", dc)),
            lambda: client.result(manager.CopyDatastoreFile_Task(flat, dc, f"[{ds}] x", dc)),
            lambda: client.result(disks.DeleteVirtualDisk_Task(descriptor, dc)),
            lambda: client.result(disks.ExtendVirtualDisk_Task(descriptor, dc, 4096)),
            lambda: client.result(disks.CopyVirtualDisk_Task(descriptor, dc, f"[{ds}] x.vmdk", dc)),
            lambda: browser.DeleteFile(flat),
        ]
        for call in calls:
            with refused(fault.FileLocked):
                call()
        url = client.url(flat.split("] ")[1])
        assert [client.request("PUT", url, b"x")[0], client.request("DELETE", url)[0]] == [423, 423]
        assert client.request("GET", client.url(f"{name}/{vm.name}.vmx"))[0] == 200
        client.result(vm.PowerOffVM_Task())
        assert client.request("GET", url)[0] == 200


def test_search_over_the_wire(client: Client, folder: str) -> None:
    ds, root = client.datastore, client.root() / folder
    (root / "a.iso").write_bytes(b"12345")
    (root / "sub").mkdir()
    (root / "sub/b.iso").write_bytes(b"1")
    browser = client.datastores[ds].browser
    plain = client.result(browser.SearchDatastore_Task(f"[{ds}] {folder}"))
    assert [each.path for each in plain.file] == ["a.iso", "sub"]
    assert plain.datastore == client.datastores[ds]
    spec = vim.host.DatastoreBrowser.SearchSpec(
        query=[vim.host.DatastoreBrowser.IsoImageQuery()],
        details=vim.host.DatastoreBrowser.FileInfo.Details(
            fileType=True, fileSize=True, modification=True, fileOwner=True
        ),
    )
    results = client.result(browser.SearchDatastoreSubFolders_Task(f"[{ds}] {folder}", spec))
    assert {
        each.folderPath + file.path: file.fileSize for each in results for file in each.file
    } == {f"[{ds}] {folder}/a.iso": 5, f"[{ds}] {folder}/sub/b.iso": 1}
    with refused(fault.FileNotFound, file=f"[{ds}] {folder}/no"):
        client.result(browser.SearchDatastore_Task(f"[{ds}] {folder}/no"))
    with refused(fault.InvalidDatastorePath):
        other = sorted(client.datastores)[1]
        browser.SearchDatastore_Task(f"[{other}] {folder}")


def test_browser_deletes(client: Client, folder: str) -> None:
    ds = client.datastore
    (client.root() / folder / "a").write_text("x")
    client.datastores[ds].browser.DeleteFile(f"[{ds}] {folder}/a")
    assert not (client.root() / folder / "a").exists()


def test_a_cancelled_copy_leaves_nothing(client: Client, manager: Any, folder: str) -> None:
    ds, dc, root = client.datastore, client.datacenter, client.root() / folder
    with (root / "big").open("wb") as file:
        for _ in range(300):
            file.write(b"x" * 1_000_000)
    task = manager.CopyDatastoreFile_Task(f"[{ds}] {folder}/big", dc, f"[{ds}] {folder}/copy", dc)
    cancel = threading.Thread(target=task.CancelTask)
    cancel.start()
    cancel.join()
    with pytest.raises(vmodl.fault.RequestCanceled):
        client.result(task)
    assert [each.name for each in root.iterdir()] == ["big"]
    (root / "big").unlink()
