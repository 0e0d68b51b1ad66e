"""Planning: a session that reads from the server, and records what would change it.

Every check of an operation is really made, against the server as it is; what the operation changes
is recorded in a `Plan` and laid over the server's answers, so that the operation goes on to its
end. Nothing that may change anything is ever sent: what is not known to be a read is a change.

Where the operation needs an answer that only the server can give, the plan ends there and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import vim

from vmops.errors import FileNotFound, ManagedObjectNotFound, VMOpsError
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.live.inventory import Inventory
from vmops.vsphere.live.properties import Properties
from vmops.vsphere.live.tasks import Tasks
from vmops.vsphere.live.watch_list import WatchList
from vmops.vsphere.planning.client import (
    PlanningClient,
    PlanningInventory,
    PlanningProperties,
    PlanningTasks,
    PlanningWatchList,
    world_of,
)
from vmops.vsphere.planning.effects import EFFECTS, UNTOLD, WITHOUT_EFFECT
from vmops.vsphere.planning.http import PlanningHttp
from vmops.vsphere.planning.plain_data import plain_arguments
from vmops.vsphere.planning.plan import Plan, PlannedCall
from vmops.vsphere.planning.site import Site, note_of
from vmops.vsphere.planning.world import World
from vmops.vsphere.session import Session
from vmops.vsphere.wire.address import ServerAddress
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.http_access import HttpAccess
from vmops.vsphere.wire.moref import Moref, describe

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo


class PlanningSession(Session):
    """A session that changes nothing. Its `plan` is the observer of the operations to be planned.

    For one operation after the other, in one thread.
    """

    is_planning: ClassVar[bool] = True
    client_kind: ClassVar[type[Client]] = PlanningClient
    properties_kind: ClassVar[type[Properties]] = PlanningProperties
    inventory_kind: ClassVar[type[Inventory]] = PlanningInventory
    watch_list_kind: ClassVar[type[WatchList]] = PlanningWatchList
    tasks_kind: ClassVar[type[Tasks]] = PlanningTasks
    http_kind: ClassVar[type[HttpAccess]] = PlanningHttp

    def __init__(self, client: Client, address: ServerAddress) -> None:
        super().__init__(client, address)
        world = world_of(client)
        assert isinstance(client, PlanningClient)  # noqa: S101 - tells the type checker
        assert isinstance(self.inventory, PlanningInventory)  # noqa: S101
        self.inventory.world = world
        client.planner = _Planner(self, world)
        self.plan: Plan = world.plan


class _Planner:
    """Takes the calls that are not sent."""

    def __init__(self, session: Session, world: World) -> None:
        self._site = Site(session, world)

    def plan(self, moref: Moref, info: MethodInfo, arguments: dict[str, object]) -> Any:
        """Record a call, and give what the server would.

        Raises:
            VMOpsError: the server would refuse it in the state that things are in by then.
            PlanEnds: what it would give is nothing that can be made up.
        """
        world, method = self._site.world, info.wsdlName
        if method in UNTOLD:
            return None
        call = PlannedCall(
            method=method, target=describe(moref), arguments=plain_arguments(info, arguments)
        )
        world.plan.record(call)
        try:
            result = self._effect(moref, info, arguments)
        except VMOpsError as refusal:
            call.note = note_of(refusal)
            raise
        if not info.isTask:
            return result
        return world.new(vim.Task, {"info.state": "success", "info.result": result})

    def is_empty(self, folder: DatastorePath) -> bool:
        """See `client.Planner`."""
        try:
            return not self._site.session.browse(folder)
        except FileNotFound:
            return True

    def _effect(self, moref: Moref, info: MethodInfo, arguments: dict[str, object]) -> Any:
        world = self._site.world
        if world.is_gone(moref):
            raise ManagedObjectNotFound(describe(moref))
        effect = EFFECTS.get(info.wsdlName)
        if effect is not None:
            return effect(self._site, moref, arguments)
        kind = info.methodResult if info.isTask else info.result
        if info.wsdlName not in WITHOUT_EFFECT:
            world.give_up(f"what {info.wsdlName} changes")
        elif kind not in {None, type(None)}:
            world.give_up(f"what the server answers to {info.wsdlName}")
        return None
