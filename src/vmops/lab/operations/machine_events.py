"""Events of virtual machines: most follow from what changes in the inventory."""

from __future__ import annotations

import copy
from collections.abc import Collection

from pyVmomi import vim

from vmops.lab.inventory.event_log import EventLog
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.kernel.fault_text import message
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.task import Task
from vmops.lab.machine.machine import Machine

_event = vim.event
_POWER: dict[str, tuple[type[vim.event.VmEvent], str]] = {
    "poweredOn": (_event.VmPoweredOnEvent, "{} on {} is powered on"),
    "poweredOff": (_event.VmPoweredOffEvent, "{} on {} is powered off"),
    "suspended": (_event.VmSuspendedEvent, "{} on {} is suspended"),
}
_MADE: dict[str, tuple[type[vim.event.VmEvent], str]] = {
    "createVm": (_event.VmCreatedEvent, "Created virtual machine {} on {}"),
    "registerVm": (_event.VmRegisteredEvent, "Registered {} on {}"),
    "clone": (_event.VmClonedEvent, "Virtual machine {} was cloned onto {}"),
}
"""By the method whose task made the machine."""
_DONE: dict[str, tuple[type[vim.event.VmEvent], str]] = {
    "reset": (_event.VmResettingEvent, "{} on {} was reset")
}
_FAILED: dict[str, tuple[type[vim.event.VmEvent], str]] = {
    "powerOn": (_event.VmFailedToPowerOnEvent, "Cannot power on {} on {}: {}"),
    "powerOff": (_event.VmFailedToPowerOffEvent, "Cannot power off {} on {}: {}"),
    "suspend": (_event.VmFailedToSuspendEvent, "Cannot suspend {} on {}: {}"),
    "reset": (_event.VmFailedToResetEvent, "Cannot reset {} on {}: {}"),
    "relocate": (_event.VmFailedMigrateEvent, "Cannot migrate {} on {}: {}"),
    "migrate": (_event.VmFailedMigrateEvent, "Cannot migrate {} on {}: {}"),
}

_TOLD = frozenset({"runtime.powerState", "runtime.host", "name"})
"""Properties of a machine whose change is an event, or is part of one."""


def post_vm(kind: type[vim.event.VmEvent], vm: Machine, text: str, **fields: object) -> None:
    """Write down an event of a machine; ``text`` has places for its name and host."""
    event = kind(template=vm.is_template, **fields)
    vm.kernel.service(EventLog).post(event, vm, text.format(vm.name, vm.host.name))


def post_reconfigured(vm: Machine, spec: vim.vm.ConfigSpec) -> None:
    """Write down that a machine was changed as a ConfigSpec says.

    Of extra configuration only the keys are kept: values may be passwords.
    """
    told = copy.copy(spec)
    told.extraConfig = [
        vim.option.OptionValue(key=option.key, value="") for option in spec.extraConfig or ()
    ]
    post_vm(_event.VmReconfiguredEvent, vm, "Reconfigured {} on {}", configSpec=told)


def post_moved(vm: Machine, source: HostSystem, datastores: Collection[str]) -> None:
    """Write down that a machine came from another host, or from other datastores."""
    fields = {"sourceHost": vim.event.HostEventArgument(name=source.name, host=source.ref)}
    is_off = vm.power_state == "poweredOff"
    kind = vim.event.VmRelocatedEvent if is_off else vim.event.VmMigratedEvent
    event = kind(template=vm.is_template, **fields)
    where = vm.host.name if vm.host is not source else ", ".join(sorted(datastores))
    text = f"Migration of {vm.name} from {source.name} to {where} completed"
    vm.kernel.service(EventLog).post(event, vm, text)


class MachineEvents:
    """Writes down what becomes of machines, from what changes in the inventory."""

    def __init__(self, kernel: Kernel, log: EventLog) -> None:
        self._kernel = kernel
        self._log = log
        self._power: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._gone: dict[str, tuple[vim.event.VmEventArgument, str, bool]] = {}

    def follow(self) -> None:
        """Write down what happens from now on."""
        for vm in self._kernel.registry.all(Machine):
            self._know(vm)
        self._kernel.on_change(self._changed)

    def _know(self, vm: Machine) -> None:
        self._power[vm.moid] = vm.power_state
        self._names[vm.moid] = vm.name
        argument = vim.event.VmEventArgument(name=vm.name, vm=vm.ref)
        self._gone[vm.moid] = (argument, vm.host.name, vm.is_template)

    def _changed(self, obj: ManagedObject, paths: Collection[str]) -> None:
        if isinstance(obj, Machine):
            if not paths:
                self._removed(obj.moid)
            elif not _TOLD.isdisjoint(paths):
                self._vm_changed(obj)
        elif isinstance(obj, Task) and "info.state" in paths:
            self._task_changed(obj.properties["info"])

    def _vm_changed(self, vm: Machine) -> None:
        state, name = vm.power_state, vm.name
        before, old_name = self._power.get(vm.moid), self._names.get(vm.moid)
        self._know(vm)
        if before not in (None, state):
            kind, text = _POWER[state]
            post_vm(kind, vm, text)
        if old_name not in (None, name):
            fields = {"oldName": old_name, "newName": name}
            post_vm(_event.VmRenamedEvent, vm, "Renamed {} on {}", **fields)

    def _removed(self, moid: str) -> None:
        self._power.pop(moid, None)
        self._names.pop(moid, None)
        argument, host, template = self._gone.pop(moid, (None, "", False))
        if argument is not None:
            event = _event.VmRemovedEvent(template=template, vm=argument)
            self._log.post(event, None, f"Removed {argument.name} on {host}")

    def _task_changed(self, info: vim.TaskInfo) -> None:
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
                post_vm(kind, vm, text, **fields)
        elif info.state == vim.TaskInfo.State.error and method in _FAILED:
            vm = self._vm(info.entity)
            if vm is not None:
                kind, text = _FAILED[method]
                event = kind(template=vm.is_template, reason=info.error)
                if isinstance(event, _event.VmFailedMigrateEvent):
                    event.destHost = _event.HostEventArgument(name=vm.host.name, host=vm.host.ref)
                fault = info.error
                said = (message(fault) if fault is not None else "") or type(fault).__name__
                self._log.post(event, vm, text.format(vm.name, vm.host.name, said))

    def _vm(self, ref: object) -> Machine | None:
        if not isinstance(ref, vim.VirtualMachine) or ref._moId not in self._kernel.registry:
            return None
        return self._kernel.registry.find(ref, Machine)
