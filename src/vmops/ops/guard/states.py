"""Power states and instances, as messages name them, and what to do about a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmops.model import extra_config
from vmops.model.power import PowerState
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

_WORDS: dict[PowerState | None, str] = {
    PowerState.POWERED_ON: "running",
    PowerState.POWERED_OFF: "powered off",
    PowerState.SUSPENDED: "suspended",
    None: "in no known state",
}
_ADVICE = {
    "powered off": "Start it first.",
    "suspended": "Resume it first.",
    "paused": "Unpause it first.",
}


@dataclass(frozen=True, slots=True)
class VmState:
    """The power state of an instance, and its VM's ``extraConfig``, which may say more."""

    power: PowerState | None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_paused(self) -> bool:
        """Whether it is suspended with the mark of a pause."""
        marked = self.settings.get(extra_config.PAUSED) == "1"
        return marked and self.power is PowerState.SUSPENDED

    @property
    def word(self) -> str:
        """The state in a sentence: "running"."""
        return "paused" if self.is_paused else _WORDS[self.power]

    @property
    def advice(self) -> str:
        """What to do about the state where a running instance is needed: "Resume it first."."""
        return _ADVICE.get(self.word, "")


def describe_state(state: PowerState | None) -> str:
    """The state in a sentence: "running"."""
    return _WORDS[state]


def read_state(vm: VirtualMachine) -> VmState:
    """The state now, in one read.

    Raises:
        ManagedObjectNotFound: the VM is gone.
    """
    found = vm.read("runtime.powerState", "config.extraConfig")
    settings = {str(o.key): str(o.value) for o in found.get("config.extraConfig") or ()}
    power = found.get("runtime.powerState")
    return VmState(PowerState(str(power)) if power in set(PowerState) else None, settings)


def known_paused(vm: VirtualMachine) -> bool:
    """Whether the live inventory knows it to carry the mark of a pause; costs no call."""
    known = vm.known()
    return known is not None and known.settings.get(extra_config.PAUSED) == "1"


def known_to_be_plain(vm: VirtualMachine) -> bool:
    """Whether the live inventory knows it, and knows of no pause, rescue or resize."""
    known = vm.known()
    marks = (extra_config.RESCUE, extra_config.RESIZE)
    return (
        known is not None
        and known.settings.get(extra_config.PAUSED) != "1"
        and not any(known.settings.get(mark) for mark in marks)
    )


def called(vm: VirtualMachine) -> str:
    """The instance as a message names it: by its VM's name where that is known at no cost.

    Where it is not known which instance it is, the VM is named.
    """
    return _named("Instance", vm, vm.instance_uuid) if vm.instance_uuid else vm_called(vm)


def vm_called(vm: VirtualMachine) -> str:
    """The VM as a message names it where it is the VM that is meant, such as one that stays."""
    return _named("VM", vm, vm.moid)


def _named(kind: str, vm: VirtualMachine, key: str) -> str:
    name = vm.known_name()
    return f"{kind} {name} ({key})" if name else f"{kind} {key}"


def called_by_uuid(session: Session, instance_uuid: str) -> str:
    """The same of an instance that may not be there, without a call."""
    inventory = session.inventory
    known = inventory.vm_by_uuid(instance_uuid) if inventory.is_loaded else None
    if known is None:
        told = session.names_told.get(instance_uuid)
        return f"Instance {told} ({instance_uuid})" if told else f"Instance {instance_uuid}"
    return called(VirtualMachine(session, known.moref, instance_uuid))


def must_run(called: str, state: VmState) -> str:
    """The sentences that say why an instance that does not run is refused."""
    return f"{called} is {state.word}. {state.advice}".rstrip()
