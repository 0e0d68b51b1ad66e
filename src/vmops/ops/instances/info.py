"""What there is, and in which state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmops import units
from vmops.model import extra_config
from vmops.model.identity import instance_of
from vmops.model.instance import InstanceInfo
from vmops.model.power import INSTANCE_STATES, InstanceState, PowerState
from vmops.vsphere.live.kinds import power_state
from vmops.vsphere.live.records import VmInfo
from vmops.vsphere.objects.lookup import with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

_PAUSED = f'config.extraConfig["{extra_config.PAUSED}"]'
PATHS = ("runtime.powerState", "config.hardware.numCPU", "config.hardware.memoryMB", _PAUSED)
_UUID_KEY = f'config.extraConfig["{extra_config.INSTANCE_UUID}"]'
_KEY = ("VirtualMachine", _UUID_KEY)
_WHOLE = "config.extraConfig"
_LISTED = ("runtime.connectionState", "config.template")
_UNREACHABLE = {"orphaned", "inaccessible"}


def get_info(session: Session, instance_uuid: str) -> InstanceInfo:
    """State and size of an instance: from the live inventory where that is loaded, else one read.

    The answer is never older than what this session did: an instance that it changed is read from
    the server until the inventory is known to have caught up. What others do shows with the next
    update of the session's stream, which vSphere sends within moments, and which is waited for
    while the stream is built anew. So asking for any number of instances costs no call.

    A VM whose host is disconnected may have no state: NOSTATE then.

    Raises:
        InstanceNotFound: there is no such instance.
    """
    if session.inventory.is_loaded:
        known = session.inventory.vm_by_uuid(instance_uuid)
        if known is not None and not session.own_writes.has(known.moid):
            return info_of(known)

    def read(vm: VirtualMachine) -> InstanceInfo:
        stamp = session.own_writes.stamp(vm.moid)
        told = info_from(vm.read(*PATHS))
        if session.inventory.is_loaded:
            known = session.inventory.vm(vm.moid)
            if known is not None and info_of(known) == told:
                session.own_writes.confirm(vm.moid, stamp)
            session.own_writes.clean(
                lambda: {each.moid for each in session.inventory.virtual_machines()}
            )
        return told

    return with_vm(session, instance_uuid, read)


def info_of(vm: VmInfo) -> InstanceInfo:
    """`InstanceInfo` from a record of the live inventory."""
    return _info(
        vm.power_state, vm.settings.get(extra_config.PAUSED) == "1", vm.num_cpu, vm.memory_mib
    )


def info_from(found: dict[str, Any]) -> InstanceInfo:
    """`InstanceInfo` from the properties of one VM, any of which may be missing."""
    return _info(
        power_state(found.get("runtime.powerState")),
        getattr(found.get(_PAUSED), "value", "") == "1",
        int(found.get("config.hardware.numCPU") or 0),
        int(found.get("config.hardware.memoryMB") or 0),
    )


def _info(
    power: PowerState | None, marked_paused: bool, num_cpu: int, memory_mib: int
) -> InstanceInfo:
    state = InstanceState.NOSTATE if power is None else INSTANCE_STATES[power]
    if state is InstanceState.SUSPENDED and marked_paused:
        state = InstanceState.PAUSED
    memory_kib = units.mib_to_kib(memory_mib)
    return InstanceInfo(state=state, max_mem_kib=memory_kib, mem_kib=memory_kib, num_cpu=num_cpu)


def list_instances(session: Session) -> list[str]:
    """The UUIDs of the instances, whatever folder or pool they are in.

    Foreign VMs, copies that somebody made of instances, templates, and VMs that are orphaned or
    inaccessible are not among them; a VM that is deleted meanwhile is passed over.
    """
    instances = []
    for properties in read_marked(session, _LISTED):
        uuid = instance_of(properties.get("config.instanceUuid"), settings_of(properties))
        if (
            uuid
            and properties.get("runtime.connectionState") not in _UNREACHABLE
            and not properties.get("config.template")
        ):
            instances.append(uuid)
    return sorted(instances)


def read_marked(session: Session, paths: tuple[str, ...]) -> Iterable[dict[str, Any]]:
    """These properties of all machines, their references under "", and what tells ours."""
    wanted = _with_marks(session, paths)
    found = session.properties.read_container("VirtualMachine", wanted)
    if wanted != (whole := _with_marks(session, paths)):
        found = session.properties.read_container("VirtualMachine", whole)
    return found.values()


def settings_of(found: dict[str, Any]) -> dict[str, str]:
    """What was read of the ``extraConfig``: all of it, or the one key that tells ours."""
    options = [found.get(_UUID_KEY), *(found.get(_WHOLE) or ())]
    return {str(option.key): str(option.value) for option in options if option is not None}


def _with_marks(session: Session, paths: tuple[str, ...]) -> tuple[str, ...]:
    # Where a server does not serve one key of a list, the whole list is read.
    mark = _UUID_KEY if session.properties.serves(*_KEY) else _WHOLE
    return (*paths, "config.instanceUuid", mark)
