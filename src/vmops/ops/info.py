"""What there is, and in which state."""

from __future__ import annotations

from typing import Any

from vmops import units
from vmops.model.instance import InstanceInfo
from vmops.model.power import INSTANCE_STATES, InstanceState, PowerState
from vmops.specs import extra_config
from vmops.vsphere.lookup import with_vm
from vmops.vsphere.session import Session
from vmops.vsphere.virtual_machine import VirtualMachine

_PAUSED = f'config.extraConfig["{extra_config.PAUSED}"]'
PATHS = (
    "runtime.powerState",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    _PAUSED,
)
_UUID_KEY = f'config.extraConfig["{extra_config.INSTANCE_UUID}"]'
_LISTED = ("runtime.connectionState", "config.template", _UUID_KEY)
_UNREACHABLE = {"orphaned", "inaccessible"}


def get_info(session: Session, instance_uuid: str) -> InstanceInfo:
    """State and size of an instance, in one read.

    A VM whose host is disconnected may have no state: NOSTATE then.

    Raises:
        InstanceNotFound: there is no such instance.
    """

    def read(vm: VirtualMachine) -> InstanceInfo:
        found = vm.read(*PATHS)
        return info_from(found)

    return with_vm(session, instance_uuid, read)


def info_from(found: dict[str, Any]) -> InstanceInfo:
    """`InstanceInfo` from the properties of one VM, any of which may be missing."""
    power = found.get("runtime.powerState")
    state = InstanceState.NOSTATE
    if power in set(PowerState):
        state = INSTANCE_STATES[PowerState(str(power))]
    if state is InstanceState.SUSPENDED and getattr(found.get(_PAUSED), "value", "") == "1":
        state = InstanceState.PAUSED
    memory = units.mib_to_kib(int(found.get("config.hardware.memoryMB") or 0))
    return InstanceInfo(
        state=state,
        max_mem_kib=memory,
        mem_kib=memory,
        num_cpu=int(found.get("config.hardware.numCPU") or 0),
    )


def list_instances(session: Session) -> list[str]:
    """The UUIDs of the instances, whatever folder or pool they are in.

    Foreign VMs, templates, and VMs that are orphaned or inaccessible are not among them; a VM that
    is deleted meanwhile is passed over.
    """
    found = session.properties.read_container("VirtualMachine", _LISTED)
    if found and not any(_UUID_KEY in properties for properties in found.values()):
        # Some servers do not serve one key of a list: read the whole list then.
        found = session.properties.read_container(
            "VirtualMachine", (*_LISTED[:2], "config.extraConfig")
        )
    instances = []
    for properties in found.values():
        uuid = _instance_uuid(properties)
        if (
            uuid
            and properties.get("runtime.connectionState") not in _UNREACHABLE
            and not properties.get("config.template")
        ):
            instances.append(uuid)
    return sorted(instances)


def _instance_uuid(properties: dict[str, Any]) -> str:
    one = properties.get(_UUID_KEY)
    if one is not None:
        return str(one.value)
    for option in properties.get("config.extraConfig") or ():
        if option.key == extra_config.INSTANCE_UUID:
            return str(option.value)
    return ""
