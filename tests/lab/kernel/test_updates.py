"""Watching through filters: WaitForUpdatesEx and what belongs to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.kernel.conftest import PC, Client, of, through
from tests.lab.kernel.small_lab import SmallLab, add_machine, remove_machine

NOW = PC.WaitOptions(maxWaitSeconds=0)
SOON = PC.WaitOptions(maxWaitSeconds=10)


def told(update: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """(kind, object id, changed properties) of every object in an update set."""
    return [
        (each.kind, each.obj._moId, {change.name: change.val for change in each.changeSet})
        for filter_update in update.filterSet
        for each in filter_update.objectSet
    ]


def change(lab: SmallLab, moid: str, **changes: Any) -> None:
    paths = {name.replace("__", "."): value for name, value in changes.items()}
    lab.on_loop(lambda kernel: kernel.update(kernel.registry.get(moid), paths))


def test_enter_modify_leave(client: Client, lab: SmallLab) -> None:
    client.collector.CreateFilter(client.all_vms("name", "config.hardware.memoryMB"), False)
    first = client.collector.WaitForUpdatesEx("", NOW)
    assert told(first) == [
        ("enter", f"vm-{number}", {"name": f"vm{number - 1}", "config.hardware.memoryMB": 512})
        for number in (1, 2, 3)
    ]
    assert client.collector.WaitForUpdatesEx(first.version, NOW) is None

    change(lab, "vm-2", config__hardware__memoryMB=1024)
    second = client.collector.WaitForUpdatesEx(first.version, SOON)
    assert told(second) == [("modify", "vm-2", {"config.hardware.memoryMB": 1024})]

    lab.on_loop(lambda kernel: remove_machine(kernel, "vm-1"))
    lab.on_loop(lambda kernel: add_machine(kernel, "new"))
    third = client.collector.WaitForUpdatesEx(second.version, SOON)
    assert told(third) == [
        ("leave", "vm-1", {}),
        ("enter", "vm-4", {"name": "new", "config.hardware.memoryMB": 512}),
    ]


def test_a_change_of_something_else_or_to_the_same_value_is_silent(
    client: Client, lab: SmallLab
) -> None:
    client.collector.CreateFilter(client.all_vms("name", "config.extraConfig"), False)
    version = client.collector.WaitForUpdatesEx("", NOW).version
    change(lab, "vm-1", config__hardware__memoryMB=64)
    change(lab, "vm-1", name="vm0")
    same = [vim.option.OptionValue(key="k.one", value="1 < 2 & 3")]
    change(lab, "vm-1", config__extraConfig=same)
    assert client.collector.WaitForUpdatesEx(version, NOW) is None


@pytest.mark.parametrize(
    ("path", "changes", "value"),
    [
        ("config.hardware", {"config__hardware__memoryMB": 64}, None),
        ("config.hardware.memoryMB", {"config__hardware": vim.vm.VirtualHardware(memoryMB=7)}, 7),
        (
            'config.extraConfig["a.b"].value',
            {"config__extraConfig": [vim.option.OptionValue(key="a.b", value="x")]},
            "x",
        ),
        ("config.hardware.memoryMB", {"config__hardware__memoryMB": 64}, 64),
    ],
)
def test_a_change_above_or_below_the_path_is_seen(
    client: Client, lab: SmallLab, path: str, changes: dict[str, Any], value: Any
) -> None:
    client.collector.CreateFilter(of(client.vm(1), path), False)
    client.collector.CreateFilter(of(client.vm(1), "name"), False)
    version = client.collector.WaitForUpdatesEx("", NOW).version
    change(lab, "vm-1", **changes)
    ((kind, moid, changed),) = told(client.collector.WaitForUpdatesEx(version, SOON))
    assert (kind, moid, list(changed)) == ("modify", "vm-1", [path])
    assert value is None or changed[path] == value


def test_an_unset_property_is_told(client: Client, lab: SmallLab) -> None:
    change(lab, "vm-1", config__annotation="x")
    client.collector.CreateFilter(of(client.vm(1), "config.annotation"), False)
    version = client.collector.WaitForUpdatesEx("", NOW).version
    change(lab, "vm-1", config__annotation=None)
    update = client.collector.WaitForUpdatesEx(version, SOON)
    (told_change,) = update.filterSet[0].objectSet[0].changeSet
    assert (told_change.op, told_change.val) == ("assign", None)
    change(lab, "vm-1", config__annotation="y")
    version = client.collector.WaitForUpdatesEx(update.version, SOON).version
    change(lab, "vm-1", config=None)
    update = client.collector.WaitForUpdatesEx(version, SOON)
    (told_change,) = update.filterSet[0].objectSet[0].changeSet
    assert (told_change.op, told_change.val) == ("indirectRemove", None)


def test_versions(client: Client, lab: SmallLab) -> None:
    client.collector.CreateFilter(client.all_vms("name"), False)
    first = client.collector.WaitForUpdatesEx("", NOW)
    change(lab, "vm-1", name="a")
    second = client.collector.WaitForUpdatesEx(first.version, NOW)
    change(lab, "vm-1", name="b")
    # The reply was lost: the same set again, then what came since.
    again = client.collector.WaitForUpdatesEx(first.version, NOW)
    assert (again.version, told(again)) == (second.version, [("modify", "vm-1", {"name": "a"})])
    third = client.collector.WaitForUpdatesEx(second.version, NOW)
    assert told(third) == [("modify", "vm-1", {"name": "b"})]
    for unknown in (first.version, "nonsense", "99"):
        with pytest.raises(vmodl.query.InvalidCollectorVersion):
            client.collector.WaitForUpdatesEx(unknown, NOW)
    # The client acknowledged by asking with the version; then the one before is unknown.
    assert client.collector.WaitForUpdatesEx(third.version, NOW) is None
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        client.collector.WaitForUpdatesEx(second.version, NOW)


def test_an_empty_version_starts_again(client: Client, lab: SmallLab) -> None:
    client.collector.CreateFilter(client.all_vms("name"), False)
    first = client.collector.WaitForUpdatesEx("", NOW)
    again = client.collector.WaitForUpdatesEx("", NOW)
    assert told(again) == told(first)
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        client.collector.WaitForUpdatesEx(first.version, NOW)


def test_at_most_so_many_objects_at_a_time(client: Client, lab: SmallLab) -> None:
    client.collector.CreateFilter(client.all_vms("name"), False)
    version, seen, cut = "", [], []
    for _ in range(2):
        options = PC.WaitOptions(maxObjectUpdates=2, maxWaitSeconds=0)
        update = client.collector.WaitForUpdatesEx(version, options)
        version = update.version
        seen += [moid for _, moid, _ in told(update)]
        cut.append(bool(update.truncated))
    assert (seen, cut) == (["vm-1", "vm-2", "vm-3"], [True, False])
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.collector.WaitForUpdatesEx(version, PC.WaitOptions(maxObjectUpdates=0))


def test_a_wait_ends_when_something_happens(client: Client, lab: SmallLab) -> None:
    client.collector.CreateFilter(client.all_vms("name"), False)
    version = client.collector.WaitForUpdatesEx("", NOW).version
    delays = []
    with ThreadPoolExecutor() as pool:
        for name in "abcde":
            waiting = pool.submit(client.collector.WaitForUpdatesEx, version, SOON)
            time.sleep(0.05)
            started = time.perf_counter()
            change(lab, "vm-3", name=name)
            update = waiting.result()
            delays.append(time.perf_counter() - started)
            assert told(update) == [("modify", "vm-3", {"name": name})]
            version = update.version
    assert min(delays) < 0.05


def test_a_wait_ends_with_nothing_after_its_time(client: Client) -> None:
    client.collector.CreateFilter(client.all_vms("name"), False)
    version = client.collector.WaitForUpdatesEx("", NOW).version
    started = time.monotonic()
    options = PC.WaitOptions(maxWaitSeconds=1)
    assert client.collector.WaitForUpdatesEx(version, options) is None
    assert 0.9 < time.monotonic() - started < 5
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=-1))


def waiting_call(client: Client, collector: Any, version: str = "") -> tuple[Any, list[Any]]:
    """A thread that waits for updates, and what it will have got."""
    got: list[Any] = []

    def wait() -> None:
        try:
            got.append(collector.WaitForUpdatesEx(version, None))
        except vmodl.MethodFault as fault:
            got.append(fault)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    return thread, got


def test_a_wait_can_be_cancelled(client: Client) -> None:
    thread, got = waiting_call(client, client.collector)
    client.collector.CancelWaitForUpdates()
    thread.join(5)
    assert isinstance(got[0], vmodl.fault.RequestCanceled)


def test_a_wait_ends_with_its_collector(client: Client) -> None:
    collector = client.collector.CreatePropertyCollector()
    thread, got = waiting_call(client, collector)
    collector.Destroy()
    thread.join(5)
    assert isinstance(got[0], vmodl.fault.RequestCanceled)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        collector.CheckForUpdates("")


def test_a_wait_ends_with_its_session(client: Client, lab: SmallLab) -> None:
    thread, got = waiting_call(client, client.collector)
    lab.on_loop(lambda _: lab.sessions.end_all())
    thread.join(5)
    assert isinstance(got[0], vim.fault.NotAuthenticated)


def test_a_filter_made_while_somebody_waits(client: Client) -> None:
    thread, got = waiting_call(client, client.collector)
    client.collector.CreateFilter(of(client.vm(1), "name"), False)
    thread.join(5)
    assert told(got[0]) == [("enter", "vm-1", {"name": "vm0"})]


def test_collectors_and_filters_are_apart(client: Client, lab: SmallLab) -> None:
    own = client.collector.CreatePropertyCollector()
    one = client.collector.CreateFilter(of(client.vm(1), "name"), False)
    two = own.CreateFilter(of(client.vm(2), "name"), False)
    assert [each._moId for each in client.read(client.collector, "filter")["filter"]] == [one._moId]
    update = client.collector.CheckForUpdates("")
    assert [each[1] for each in told(update)] == ["vm-1"]
    other = own.CheckForUpdates("")
    assert [each[1] for each in told(other)] == ["vm-2"]
    assert other.filterSet[0].filter._moId == two._moId
    two.Destroy()
    change(lab, "vm-2", name="x")
    assert own.CheckForUpdates(other.version) is None
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        two.Destroy()


def test_several_filters_in_one_collector(client: Client, lab: SmallLab) -> None:
    one = client.collector.CreateFilter(of(client.vm(1), "name"), False)
    two = client.collector.CreateFilter(client.all_vms("config.hardware.memoryMB"), False)
    version = client.collector.WaitForUpdatesEx("", NOW).version
    change(lab, "vm-1", name="x", config__hardware__memoryMB=8)
    update = client.collector.WaitForUpdatesEx(version, SOON)
    assert {
        each.filter._moId: each.objectSet[0].changeSet[0].name for each in update.filterSet
    } == {one._moId: "name", two._moId: "config.hardware.memoryMB"}


def test_a_session_sees_no_other_session(new_client: Callable[..., Client]) -> None:
    one, two = new_client(), new_client()
    view = one.content.viewManager.CreateListView([one.vm(1)])
    created = one.collector.CreateFilter(of(one.vm(1), "name"), False)
    collector = one.collector.CreatePropertyCollector()
    for ref in (view, created, collector):
        strange = type(ref)(ref._moId, two.stub)
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            strange.Destroy()
    assert two.collector.CheckForUpdates("") is None


def test_a_list_of_tasks_grows_under_a_filter(client: Client) -> None:
    view = client.content.viewManager.CreateListView([])
    client.collector.CreateFilter(through(view, vim.Task, "info.state"), False)
    assert client.collector.WaitForUpdatesEx("", NOW) is None
    thread, got = waiting_call(client, client.collector)
    task = client.vm(1).PowerOn()
    view.ModifyListView([task], [])
    thread.join(5)
    update = got[0]
    states = []
    while True:
        states += [changed["info.state"] for _, _, changed in told(update)]
        if states[-1] == "success":
            break
        update = client.collector.WaitForUpdatesEx(update.version, SOON)
    assert states[0] in ("queued", "running", "success")


def test_what_was_handed_out_does_not_change_afterwards(client: Client, lab: SmallLab) -> None:
    client.collector.CreateFilter(of(client.vm(1), "config.hardware"), False)
    first = client.collector.WaitForUpdatesEx("", NOW)
    change(lab, "vm-1", config__hardware__memoryMB=1)
    second = client.collector.WaitForUpdatesEx(first.version, NOW)
    change(lab, "vm-1", config__hardware__memoryMB=2)
    replayed = client.collector.WaitForUpdatesEx(first.version, NOW)
    assert told(replayed)[0][2]["config.hardware"].memoryMB == 1
    third = client.collector.WaitForUpdatesEx(second.version, NOW)
    assert told(third)[0][2]["config.hardware"].memoryMB == 2


def test_a_client_that_goes_away_does_not_stay_waiting(client: Client, lab: SmallLab) -> None:
    session = lab.on_loop(lambda _: next(iter(lab.sessions._sessions.values())))
    connection = client.stub.GetConnection()
    thread_started = threading.Event()

    def wait() -> None:
        thread_started.set()
        with pytest.raises(Exception):  # noqa: B017, PT011  whatever a closed connection gives
            client.collector.WaitForUpdatesEx("", None)

    client.stub.ReturnConnection(connection)
    thread = threading.Thread(target=wait)
    thread.start()
    thread_started.wait(5)
    deadline = time.monotonic() + 10
    while session.calls_now != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert session.calls_now == 1
    connection.sock.shutdown(2)
    thread.join(5)
    while session.calls_now != 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert session.calls_now == 0
