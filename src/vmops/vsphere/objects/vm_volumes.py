"""A virtual machine and a volume, looked at together in one call.

A volume of kind vmdk is the disk of a virtual machine that is never powered on, its shadow VM.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyVmomi import vim, vmodl

from vmops.errors import InvalidArgument, ManagedObjectNotFound
from vmops.model.extra_config import VOLUME_PREFIX
from vmops.vsphere.live.properties import Selection, Values
from vmops.vsphere.objects import vm_hardware
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_hardware import VmHardware
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import describe, wire_type

_collector = vmodl.query.PropertyCollector

_VM = "VirtualMachine"
_PATHS = (*vm_hardware.PATHS, "config.changeVersion", "name")
_HOLDER_PATHS = ("name", "config.instanceUuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowVm:
    """The virtual machine that holds a volume's disk, which is None where it has lost it."""

    vm: VirtualMachine
    name: str
    hardware: VmHardware

    @property
    def disk(self) -> VmDisk | None:
        """The volume's disk: a shadow VM has this one only."""
        return next(iter(self.hardware.files.disks), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeView:
    """What was seen. ``shadow`` is None where there is none, or where it is gone.

    ``holders`` are the names of other virtual machines that have noted the volume as theirs.
    """

    hardware: VmHardware
    change_version: str
    shadow: ShadowVm | None = None
    holders: tuple[str, ...] = ()


def look_at_volume(
    session: Session, vm: VirtualMachine, volume_id: str, shadow: VirtualMachine | None
) -> VolumeView:
    """Read a virtual machine, a volume's shadow VM and who else has the volume.

    Others are looked for among the virtual machines that have a file on one of the shadow VM's
    datastores: whoever has the volume attached has one there. Servers that take no key of a list
    in a path do not tell of others.

    Raises:
        ManagedObjectNotFound: the virtual machine is gone.
    """
    if shadow is not None:
        own = Selection([_one(vm), _one(shadow)], _VM, _PATHS)
        key, others = _others(volume_id, shadow)
        try:
            try:
                found = session.properties.read_selections(own, others)
            except InvalidArgument:
                found = session.properties.read_selections(own)
        except ManagedObjectNotFound as error:
            if error.moref != describe(shadow.moref):
                raise
        else:
            return _view(vm, found, shadow, _holders(found, key, {vm.moid, shadow.moid}))
    return _view(vm, session.properties.read_selections(Selection([_one(vm)], _VM, _PATHS)))


def volume_holders(session: Session, volume_id: str, shadow: VirtualMachine) -> tuple[str, ...]:
    """The names of those that have the volume, as `look_at_volume` finds them; one call.

    Raises:
        ManagedObjectNotFound: the shadow VM is gone.
    """
    key, others = _others(volume_id, shadow)
    try:
        return _holders(session.properties.read_selections(others), key, {shadow.moid})
    except InvalidArgument:
        return ()


def _others(volume_id: str, shadow: VirtualMachine) -> tuple[str, Selection]:
    """The path of the note that a volume's holders have, and who is asked for it."""
    key = f'config.extraConfig["{VOLUME_PREFIX}{volume_id}"]'
    return key, Selection([_neighbours(shadow)], _VM, (key, *_HOLDER_PATHS))


def _holders(found: dict[str, Values], key: str, own: set[str]) -> tuple[str, ...]:
    return tuple(
        str(values.get("name") or name)
        for name, values in found.items()
        if name not in own and _is_set(values.get(key))
    )


def _view(
    vm: VirtualMachine,
    found: dict[str, Values],
    shadow: VirtualMachine | None = None,
    holders: tuple[str, ...] = (),
) -> VolumeView:
    own = found.get(vm.moid)
    if own is None:
        raise ManagedObjectNotFound(describe(vm.moref))
    seen = None
    if shadow is not None and shadow.moid in found:
        values = found[shadow.moid]
        seen = ShadowVm(
            vm=shadow,
            name=str(values.get("name") or shadow.moid),
            hardware=vm_hardware.hardware_from(values),
        )
    return VolumeView(
        hardware=vm_hardware.hardware_from(own),
        change_version=str(own.get("config.changeVersion") or ""),
        shadow=seen,
        holders=holders,
    )


def _one(vm: VirtualMachine) -> vmodl.query.PropertyCollector.ObjectSpec:
    return _collector.ObjectSpec(obj=vm.moref, skip=False)


def _neighbours(shadow: VirtualMachine) -> vmodl.query.PropertyCollector.ObjectSpec:
    """The virtual machines on the datastores of this one."""
    datastore_vms = _collector.TraversalSpec(type=wire_type("Datastore"), path="vm", skip=False)
    datastores = _collector.TraversalSpec(
        type=wire_type(_VM), path="datastore", skip=True, selectSet=[datastore_vms]
    )
    return _collector.ObjectSpec(obj=shadow.moref, skip=True, selectSet=[datastores])


def _is_set(option: vim.option.OptionValue | None) -> bool:
    return bool(getattr(option, "value", None))
