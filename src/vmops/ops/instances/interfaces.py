"""NICs of an instance: list them, and make them match its interfaces, while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmops.errors import AlreadyExists, NotFound
from vmops.model import extra_config
from vmops.model.image import VifModel
from vmops.model.instance import Vif
from vmops.model.mac_address import check_given
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.placement import find_networks
from vmops.ops.engine.port_groups import create_port_groups, with_vlan
from vmops.ops.guard.preconditions import refuse_suspended
from vmops.ops.guard.states import called
from vmops.specs.nics import NicBacking, add_nic, change_nic, model_of, nic_changes, remove_nic
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.live.records import ClusterInfo, NetworkInfo
from vmops.vsphere.objects.lookup import with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_nics import VmNic, VmNics
from vmops.vsphere.session import Session

DEFAULT_MODEL = VifModel.VMXNET3


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An interface as it is. ``model`` is "" where images cannot name it.

    ``addresses`` are those that the guest's Tools tell.
    """

    mac_address: str
    network: str
    model: str
    connected: bool
    id: str
    addresses: tuple[str, ...]


def list_interfaces(session: Session, instance_uuid: str) -> tuple[Interface, ...]:
    """The instance's interfaces in the order of its NICs, in one read.

    Raises:
        InstanceNotFound: there is no such instance.
    """

    def do(vm: VirtualMachine) -> tuple[Interface, ...]:
        there, addresses = vm.nics_and_addresses()
        return tuple(
            Interface(
                mac_address=nic.mac_address,
                network=network_name(session, nic),
                model=model.word if (model := model_of(nic.device)) else "",
                connected=nic.connected,
                id=there.id_of(nic),
                addresses=addresses.get(nic.mac_address, ()),
            )
            for nic in there.nics
        )

    return with_vm(session, instance_uuid, do)


def network_name(session: Session, nic: VmNic) -> str:
    """The name of the port group that a NIC is plugged into; costs no call."""
    if nic.kind == "standard":
        return nic.network
    there = session.inventory.networks()
    return next((n.name for n in there if n.portgroup_key == nic.network), nic.network)


def plug_vifs(engine: Engine, vm: VirtualMachine, vifs: Sequence[Vif]) -> None:
    """Give an instance a NIC for each interface; one that is right already stays as it is.

    1. Look at the NICs
    2. Create the port groups
    3. Plug the interfaces

    Step 2 is that of networks which ask for their VLAN's port group to be made where it is missing.
    An interface is known by its MAC address, or by its id where it has none; one that has neither
    is served by any NIC on its port group that is no other interface's. A NIC on another port group
    is moved there, one that is disconnected is connected; NICs of no interface are left alone. All
    in one change, which works while the instance runs. A new NIC's model is the interface's, else
    that of the instance's first NIC, for which its guest has a driver.

    Raises:
        InstanceNotFound: there is no such instance.
        NetworkNotFound: a port group does not exist; nothing was changed.
        NetworkAmbiguous: several have its name; nothing was changed.
        InvalidVlanTag, InvalidVlanPortGroup: it exists, and is another.
        InvalidPowerState: the instance is suspended, and a NIC would have to change.
        InvalidState: likewise, and it is paused.
    """
    with Operation("plug_vifs") as run:
        cluster, networks = _find_networks(engine, vifs)
        there = run(look_at_nics(vm))
        if _plug_changes(there, vifs, networks)[0]:
            _refuse_suspended(vm, there)
        if with_vlan(vifs):
            run(create_port_groups(engine.port_groups, cluster, vifs))
        run(plug(vm, there, vifs, networks))


def attach_interface(engine: Engine, vm: VirtualMachine, vif: Vif) -> None:
    """Give an instance one more NIC.

    1. Look at the NICs
    2. Create the port groups
    3. Plug the interfaces

    Step 2 is that of a network which asks for its VLAN's port group to be made where it is missing.

    Raises:
        InstanceNotFound: there is no such instance.
        AlreadyExists: it has this interface.
        InvalidArgument: no NIC can be given its MAC address; nothing was changed.
        NetworkNotFound: the port group does not exist; nothing was changed.
        NetworkAmbiguous: several have its name; nothing was changed.
        InvalidVlanTag, InvalidVlanPortGroup: it exists, and is another.
        InvalidPowerState: the instance is suspended.
        InvalidState: it is paused.
    """
    check_given([vif.mac_address])
    with Operation("attach_interface") as run:
        cluster, networks = _find_networks(engine, (vif,))
        there = run(look_at_nics(vm))
        if there.find(vif.id, vif.mac_address) is not None:
            raise AlreadyExists(
                f"{called(vm)} has the interface {vif.mac_address or vif.id} already."
            )
        _refuse_suspended(vm, there)
        if with_vlan((vif,)):
            run(create_port_groups(engine.port_groups, cluster, (vif,)))
        run(plug(vm, there, (vif,), networks, only_new=True))


def unplug_vifs(engine: Engine, vm: VirtualMachine, vifs: Sequence[Vif]) -> None:
    """Take the NICs of these interfaces out; those that are not there are passed over.

    1. Look at the NICs
    2. Unplug the interfaces

    Interfaces are known as in `plug_vifs`, but one with neither MAC address nor id is passed over:
    nothing says which NIC it is.

    Raises:
        InstanceNotFound: there is no such instance.
        InvalidPowerState: the instance is suspended, and a NIC would have to go.
        InvalidState: likewise, and it is paused.
    """
    with Operation("unplug_vifs") as run:
        there = run(look_at_nics(vm))
        if _unplug_changes(there, vifs)[0]:
            _refuse_suspended(vm, there)
        run(unplug(vm, there, vifs))


def detach_interface(engine: Engine, vm: VirtualMachine, vif: Vif) -> None:
    """Take one interface's NIC out.

    1. Look at the NICs
    2. Unplug the interfaces

    Raises:
        InstanceNotFound: there is no such instance.
        NotFound: it has no such interface.
        InvalidPowerState: the instance is suspended.
        InvalidState: it is paused.
    """
    with Operation("detach_interface") as run:
        there = run(look_at_nics(vm))
        if there.find(vif.id, vif.mac_address) is None:
            raise NotFound(
                f"{called(vm)} has no interface {vif.mac_address or vif.id}."
                f" It has: {', '.join(nic.mac_address for nic in there.nics) or 'none'}."
            )
        _refuse_suspended(vm, there)
        run(unplug(vm, there, (vif,)))


def _refuse_suspended(vm: VirtualMachine, there: VmNics) -> None:
    refuse_suspended(called(vm), there.settings, there.power_state)


def _find_networks(
    engine: Engine, vifs: Sequence[Vif]
) -> tuple[ClusterInfo, tuple[NetworkInfo, ...]]:
    inventory = engine.session.inventory
    cluster = inventory.cluster(engine.cluster_name)
    return cluster, find_networks(inventory, cluster, tuple(vifs), with_vlan(vifs))


@step("Look at the NICs")
def look_at_nics(vm: VirtualMachine) -> Reversible[VmNics]:
    """Read them in one read."""
    yield vm.nics()


@step("Plug the interfaces")
def plug(
    vm: VirtualMachine,
    there: VmNics,
    vifs: Sequence[Vif],
    networks: Sequence[NetworkInfo],
    *,
    only_new: bool = False,
) -> Reversible[None]:
    """Add what is missing and mend what is wrong, in one reconfiguration."""
    changes, settings = _plug_changes(there, vifs, networks, only_new=only_new)
    if changes:
        vm.reconfigure(nic_changes(changes, settings))
    yield


def _plug_changes(
    there: VmNics, vifs: Sequence[Vif], networks: Sequence[NetworkInfo], *, only_new: bool = False
) -> tuple[list[Any], dict[str, str]]:
    """What has to change of the NICs, and of the notes of which interfaces they are."""
    changes: list[Any] = []
    settings: dict[str, str] = {}
    numbers = iter(there.free_numbers(len(vifs)))
    chosen = [there.find(vif.id, vif.mac_address) for vif in vifs]
    claimed = {nic.key for nic in chosen if nic is not None}
    for index, (vif, network) in enumerate(zip(vifs, networks, strict=True)):
        nic = chosen[index]
        if nic is None and not (only_new or vif.id or vif.mac_address):
            nic = _unclaimed(there, claimed, network)
            claimed |= {nic.key} if nic else set()
        if nic is None:
            model = vif.model or _usual_model(there)
            backing = backing_of(network)
            changes.append(add_nic(index, model, vif.mac_address, backing, vif.allocation))
            settings.update(_noted(there, vif.id, next(numbers)))
        elif not (nic.connected and _is_on(nic, network)):
            changes.append(change_nic(nic.device, backing_of(network)))
    return changes, settings


def _usual_model(there: VmNics) -> VifModel:
    return next((m for nic in there.nics if (m := model_of(nic.device))), DEFAULT_MODEL)


def _unclaimed(there: VmNics, claimed: set[int], network: NetworkInfo) -> VmNic | None:
    """A NIC on a port group that serves no interface known by its MAC address or id."""
    return next(
        (
            nic
            for nic in there.nics
            if nic.key not in claimed and not there.id_of(nic) and _is_on(nic, network)
        ),
        None,
    )


def _noted(there: VmNics, interface_id: str, number: int) -> dict[str, str]:
    """The notes of which interface a new NIC is; those of a NIC that went otherwise are removed."""
    notes = {}
    stale = there.number_of(interface_id) if interface_id else None
    for old in {stale, number if number in there.interface_ids else None} - {None}:
        notes[extra_config.INTERFACE_ID.format(index=old)] = ""
    if interface_id:
        notes[extra_config.INTERFACE_ID.format(index=number)] = interface_id
    return notes


@step("Unplug the interfaces")
def unplug(vm: VirtualMachine, there: VmNics, vifs: Sequence[Vif]) -> Reversible[None]:
    """Remove NICs and their notes, in one reconfiguration."""
    changes, settings = _unplug_changes(there, vifs)
    if changes or settings:
        vm.reconfigure(nic_changes(changes, settings))
    yield


def _unplug_changes(there: VmNics, vifs: Sequence[Vif]) -> tuple[list[Any], dict[str, str]]:
    """The NICs that have to go, and the notes of them."""
    changes = []
    settings = {}
    for vif in vifs:
        nic = there.find(vif.id, vif.mac_address)
        numbers = {there.number_of(vif.id)} if vif.id else set()
        if nic is not None:
            changes.append(remove_nic(nic.device))
            numbers.add(nic.number)
        for number in numbers & set(there.interface_ids):
            settings[extra_config.INTERFACE_ID.format(index=number)] = ""
    return changes, settings


def backing_of(network: NetworkInfo) -> NicBacking:
    """What plugs a NIC into a port group."""
    return NicBacking(
        kind=network.kind,
        name=network.name,
        portgroup_key=network.portgroup_key,
        switch_uuid=network.switch_uuid,
    )


def _is_on(nic: VmNic, network: NetworkInfo) -> bool:
    if nic.kind != network.kind:
        return False
    return nic.network == (network.name if nic.kind == "standard" else network.portgroup_key)
