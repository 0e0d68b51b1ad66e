"""What has happened in the lab: written down when it happens, told by the EventManager."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pyVmomi import vim

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.session_manager import current_session
from vmops.lab.kernel.task import Task

if TYPE_CHECKING:
    from vmops.lab.inventory.host_system import HostSystem
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.managed_object import ManagedObject
    from vmops.lab.machine.machine import Machine

KEPT = 1000
"""Events kept; the oldest goes for one more. An ESXi host keeps as many."""

_event: Any = vim.event
_POWER: dict[str, tuple[Any, str]] = {
    "poweredOn": (_event.VmPoweredOnEvent, "{} on {} is powered on"),
    "poweredOff": (_event.VmPoweredOffEvent, "{} on {} is powered off"),
    "suspended": (_event.VmSuspendedEvent, "{} on {} is suspended"),
}
_MADE: dict[str, tuple[Any, str]] = {
    "createVm": (_event.VmCreatedEvent, "Created virtual machine {} on {}"),
    "registerVm": (_event.VmRegisteredEvent, "Registered {} on {}"),
    "clone": (_event.VmClonedEvent, "Virtual machine {} was cloned onto {}"),
}
"""By the method whose task made the machine."""
_DONE: dict[str, tuple[Any, str]] = {
    "reset": (_event.VmResettingEvent, "{} on {} was reset"),
}
_FAILED: dict[str, tuple[Any, str]] = {
    "powerOn": (_event.VmFailedToPowerOnEvent, "Cannot power on {} on {}: {}"),
    "powerOff": (_event.VmFailedToPowerOffEvent, "Cannot power off {} on {}: {}"),
    "suspend": (_event.VmFailedToSuspendEvent, "Cannot suspend {} on {}: {}"),
    "reset": (_event.VmFailedToResetEvent, "Cannot reset {} on {}: {}"),
    "relocate": (_event.VmFailedMigrateEvent, "Cannot migrate {} on {}: {}"),
    "migrate": (_event.VmFailedMigrateEvent, "Cannot migrate {} on {}: {}"),
}

_TOLD = frozenset({"runtime.powerState", "runtime.host", "name"})
"""Properties of a machine whose change is an event, or is part of one."""


class EventLog:
    """Keeps the latest events. Most of them follow from what changes in the inventory."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._kept: deque[Any] = deque(maxlen=KEPT)
        self._number = 0
        self._listener: Callable[[], None] = lambda: None
        self._power: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._gone: dict[str, Any] = {}

    def follow(self, listener: Callable[[], None]) -> None:
        """Write down what happens from now on, and call ``listener`` after each event."""
        for vm in self._kernel.registry.of_wire_type(vim.VirtualMachine):
            self._know(cast("Machine", vm))
        self._listener = listener
        self._kernel.on_change(self._changed)

    @property
    def events(self) -> list[Any]:
        """The events kept, oldest first."""
        return list(self._kept)

    def post(self, event: Any, entity: ManagedEntity | None, message: str) -> Any:
        """Write an event down; what it has to say of the entity's surroundings is filled in."""
        self._number += 1
        session = current_session.get(None)
        event.key = event.chainId = self._number
        event.createdTime = datetime.now(UTC)
        event.userName = "" if session is None else session.user
        event.fullFormattedMessage = message
        if entity is not None:
            _surround(event, entity)
        self._kept.append(event)
        self._listener()
        return event

    def post_vm(self, kind: Any, vm: Machine, text: str, **fields: Any) -> None:
        """Write down an event of a machine; ``text`` has places for its name and host."""
        event = kind(template=vm.is_template, **fields)
        self.post(event, vm, text.format(vm.name, vm.host.name))

    def reconfigured(self, vm: Machine, spec: Any) -> None:
        """Write down that a machine was changed as a ConfigSpec says.

        Of extra configuration only the keys are kept: values may be passwords.
        """
        told = copy.copy(spec)
        told.extraConfig = [
            vim.option.OptionValue(key=option.key, value="") for option in spec.extraConfig or ()
        ]
        self.post_vm(_event.VmReconfiguredEvent, vm, "Reconfigured {} on {}", configSpec=told)

    def moved(self, vm: Machine, source: HostSystem, datastores: Collection[str]) -> None:
        """Write down that a machine came from another host, or from other datastores."""
        fields = {
            "sourceHost": vim.event.HostEventArgument(name=source.name, host=source.ref),
            "template": vm.is_template,
        }
        if vm.power_state == "poweredOff":
            event: vim.event.VmEvent = vim.event.VmRelocatedEvent(**fields)
        else:
            event = vim.event.VmMigratedEvent(**fields)
        where = vm.host.name if vm.host is not source else ", ".join(sorted(datastores))
        self.post(event, vm, f"Migration of {vm.name} from {source.name} to {where} completed")

    def _know(self, vm: Machine) -> None:
        self._power[vm.moid] = vm.power_state
        self._names[vm.moid] = vm.name
        argument = vim.event.VmEventArgument(name=vm.name, vm=vm.ref)
        self._gone[vm.moid] = (argument, vm.host.name, vm.is_template)

    def _changed(self, obj: ManagedObject, paths: Collection[str]) -> None:
        if obj.wire_type is vim.VirtualMachine:
            if not paths:
                self._removed(obj.moid)
            elif not _TOLD.isdisjoint(paths):
                self._vm_changed(cast("Machine", obj))
        elif isinstance(obj, Task) and "info.state" in paths:
            self._task_changed(obj.properties["info"])

    def _vm_changed(self, vm: Machine) -> None:
        state, name = vm.power_state, vm.name
        before, old_name = self._power.get(vm.moid), self._names.get(vm.moid)
        self._know(vm)
        if before not in (None, state):
            kind, text = _POWER[state]
            self.post_vm(kind, vm, text)
        if old_name not in (None, name):
            fields = {"oldName": old_name, "newName": name}
            self.post_vm(_event.VmRenamedEvent, vm, "Renamed {} on {}", **fields)

    def _removed(self, moid: str) -> None:
        self._power.pop(moid, None)
        self._names.pop(moid, None)
        argument, host, template = self._gone.pop(moid, (None, "", False))
        if argument is not None:
            event = _event.VmRemovedEvent(template=template, vm=argument)
            self.post(event, None, f"Removed {argument.name} on {host}")

    def _task_changed(self, info: Any) -> None:
        method = str(info.descriptionId).rpartition(".")[2]
        if info.state == vim.TaskInfo.State.success:
            vm = self._vm(info.result) if method in _MADE else self._vm(info.entity)
            kind, text = (_MADE | _DONE).get(method, (None, ""))
            if vm is not None and kind is not None:
                self._know(vm)
                fields = {}
                if kind is _event.VmClonedEvent:
                    fields["sourceVm"] = _event.VmEventArgument(
                        name=info.entityName or "", vm=info.entity
                    )
                self.post_vm(kind, vm, text, **fields)
        elif info.state == vim.TaskInfo.State.error and method in _FAILED:
            vm = self._vm(info.entity)
            if vm is not None:
                kind, text = _FAILED[method]
                event = kind(template=vm.is_template, reason=info.error)
                if kind is _event.VmFailedMigrateEvent:
                    event.destHost = _event.HostEventArgument(name=vm.host.name, host=vm.host.ref)
                said = info.error.msg or type(info.error).__name__
                self.post(event, vm, text.format(vm.name, vm.host.name, said))

    def _vm(self, ref: Any) -> Machine | None:
        if not isinstance(ref, vim.VirtualMachine) or ref._moId not in self._kernel.registry:
            return None
        return cast("Machine", self._kernel.registry.get(ref))


_ARGUMENTS: dict[Any, tuple[str, Any, str]] = {
    vim.VirtualMachine: ("vm", _event.VmEventArgument, "vm"),
    vim.HostSystem: ("host", _event.HostEventArgument, "host"),
    vim.Datacenter: ("datacenter", _event.DatacenterEventArgument, "datacenter"),
    vim.Datastore: ("ds", _event.DatastoreEventArgument, "datastore"),
    vim.ComputeResource: (
        "computeResource",
        _event.ComputeResourceEventArgument,
        "computeResource",
    ),
}


def _surround(event: Any, entity: ManagedEntity) -> None:
    """Name the entity, what it is in, and the host a machine is on."""
    around: list[ManagedEntity] = []
    above: ManagedEntity | None = entity
    while above is not None:
        around.append(above)
        above = above.parent
    if entity.wire_type is vim.VirtualMachine:
        host = cast("Machine", entity).host
        around += [host] if host.parent is None else [host, host.parent]
    for each in around:
        for wire_type, (name, kind, field) in _ARGUMENTS.items():
            if issubclass(each.wire_type, wire_type) and getattr(event, name) is None:
                setattr(event, name, kind(name=each.name, **{field: each.ref}))
