"""A plan beside the run that it is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import vmops
from tests.backends import second_view
from tests.backends.lab import LabBackend
from tests.contract.engine import Bench
from vmops import VMwareVMOps
from vmops.images.planning_store import PlanningImageStore
from vmops.vsphere.planning.plan import Plan
from vmops.vsphere.planning.session import PlanningSession
from vmops.vsphere.session import Session

Do = Callable[[VMwareVMOps], object]

# What the server may be sent for a plan: written out here, not taken from the code under test.
LOOKING = (
    "Find",
    "Query",
    "Retrieve",
    "ContinueRetrieve",
    "HEAD ",
    "GET ",
    "SearchDatastore_Task",
    "ListVStorageObject",
    "HostListVStorageObject",
    "HostRetrieveVStorageObject",
    # a session's own: it logs in, follows changes, and leaves
    "Login",
    "Logout",
    "WaitForUpdatesEx",
    "CancelWaitForUpdates",
    "CreateFilter",
    "CreateContainerView",
    "CreateListView",
    "ModifyListView",
    "CreatePropertyCollector",
    "DestroyView",
    "DestroyPropertyCollector",
    "DestroyPropertyFilter",
)
_KEEP_ALIVE = "HttpNfcLeaseProgress"
_ROUTES = {"PUT": "PUT /folder", "DELETE": "DELETE /folder", "POST": "POST /nfc"}
_OF_THE_STORE = {"store", "remove"}


def is_change(call: str) -> bool:
    return not call.startswith(LOOKING) and call != _KEEP_ALIVE


def plan_of(bench: Bench, do: Do) -> Plan:
    """The plan of doing it; the server is shown to have got nothing that changes anything."""
    backend = bench.backend
    with vmops.connect(
        backend.url,
        backend.username,
        backend.password,
        thumbprint=backend.thumbprint,
        planning=True,
    ) as session:
        assert isinstance(session, PlanningSession)
        ops = VMwareVMOps(
            session,
            cluster_name=backend.cluster,
            images=PlanningImageStore(Path(bench.images.store.directory), session.plan),
            config=bench.settings,
            observe=session.plan,
        )
        came = _calls_of(bench, session, lambda: do(ops))
    assert came
    assert [call for call in came if is_change(call)] == []
    return session.plan


def check(bench: Bench, do: Do) -> Plan:
    """The plan changes nothing, and is what the run then sends, in this order."""
    before, tasks, images = bench.world(), _tasks(bench), bench.images.store.list()
    plan = plan_of(bench, do)
    assert bench.world() == before
    assert _tasks(bench) == tasks
    assert bench.images.store.list() == images
    came = _calls_of(bench, bench.session, lambda: do(bench.ops))
    sent = [call for call in came if is_change(call)]
    planned = names(plan)
    if isinstance(bench.backend, LabBackend):
        assert planned == sent
    else:
        assert Counter(call for call in planned if " " not in call) == Counter(sent)
    return plan


def names(plan: Plan) -> list[str]:
    """The planned calls as the lab names those that come."""
    calls = [_ROUTES.get(call.method, call.method) for call in plan.calls()]
    return [call for call in calls if call not in _OF_THE_STORE]


def _calls_of(bench: Bench, session: Session, do: Callable[[], object]) -> list[str]:
    """What comes to the lab meanwhile, in order; elsewhere what the session counts as sent."""
    if not isinstance(bench.backend, LabBackend):
        before = session.counts
        do()
        return list((session.counts - before).elements())
    failures = bench.backend.lab.failures
    failures.plan()
    try:
        do()
        return failures.calls()
    finally:
        failures.clear()


def _tasks(bench: Bench) -> dict[str, str]:
    """The list of recent tasks, by moid; looking through a folder is one that changes nothing."""
    found = second_view.properties(bench.content.taskManager, "recentTask").get("recentTask", [])
    paths = ("info.descriptionId",)
    told = {task._GetMoId(): second_view.properties(task, *paths).get(paths[0]) for task in found}
    return {moid: str(what) for moid, what in told.items() if "search" not in str(what).lower()}
