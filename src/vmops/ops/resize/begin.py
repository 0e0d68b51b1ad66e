"""Resize: an instance gets another size, and keeps its old root disk until that is confirmed.

Two calls, as Nova has them: the first one powers the instance off and changes it, the second one
starts it. Then either `vmops.ops.resize.confirm` or `vmops.ops.resize.revert` ends it. All of them
find what they need in the VM, so each may run in another process, and may be run again after a
crash at any point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from vmops import in_flight, units
from vmops.context import undoing
from vmops.errors import InvalidState, ResizeError
from vmops.model import extra_config
from vmops.model.block_devices import BlockDevices
from vmops.model.datastore_path import DatastorePath
from vmops.model.instance import Flavor
from vmops.model.power import PowerState
from vmops.model.size import Size
from vmops.ops.engine.engine import Engine
from vmops.ops.engine.extra_disks import ephemeral_disks, sizes_of, swap_disk, wanted_sizes
from vmops.ops.engine.made_files import MadeFiles, refuse_taken
from vmops.ops.engine.own_disks import is_volume, own_folder, root_disk
from vmops.ops.guard.preconditions import (
    pass_over_marks,
    refuse_rescued,
    refuse_resized,
    refuse_suspended,
)
from vmops.ops.guard.states import called
from vmops.ops.guard.vm_marks import First, Outrun, begin_marked, leased
from vmops.ops.instances import power
from vmops.ops.instances.power import AT_ONCE, Patience
from vmops.ops.notes.resize import (
    ExtraSizes,
    Phase,
    ResizeNote,
    counterpart,
    find_note,
    note_replaced,
    replaced_disks,
)
from vmops.ops.resize.destination import Destination, find_destination
from vmops.ops.resize.revert import put_back
from vmops.specs import resize as specs
from vmops.specs.annotation import flavor_facts, told_flavor, with_flavor
from vmops.specs.disks import DESCRIPTOR_ADAPTERS
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_summary import VmSummary, read_summary

Tell: TypeAlias = Callable[[int], None]
"""Takes the progress of the whole resize in percent."""

# The last percents are those of `vmops.ops.resize.finish`.
_NOTED, _OFF, _MOVED, _COPIED, _CHANGED = 10, 25, 45, 70, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeRequest:
    """What an instance is to become, and where: "", or see `vmops.ops.resize.destination`."""

    flavor: Flavor
    dest: str = ""
    patience: Patience = AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a resize does. ``root``: the root disk if that is replaced; ``where`` None: it stays."""

    summary: VmSummary
    note: ResizeNote
    is_new: bool
    root: VmDisk | None
    where: Destination | None = None

    @property
    def grown(self) -> DatastorePath | None:
        return counterpart(DatastorePath.parse(self.root.file_name)) if self.root else None


def migrate_disk_and_power_off(
    engine: Engine, vm: VirtualMachine, request: ResizeRequest, tell: Tell
) -> None:
    """Power an instance off and give it another size.

    1. Look at the VM
    2. Note the resize
    3. Power off
    4. Move the VM
    5. Copy the root disk, and let the copy grow
    6. Change the size, and exchange the root disk

    The guest is asked to shut down in step 3 if there is time for it. Step 4 is that of another
    place, step 5 that of a bigger root disk; its old one stays beside it. Ephemeral and swap disks
    of another size come with `vmops.ops.resize.finish`; 0 in the flavor means none. If anything
    fails the VM is as before, and runs if it ran. Called again after a crash it goes on; called
    again when it is done it does nothing.

    Raises:
        InstanceNotFound: there is no such instance.
        ResizeError: the root disk would have to shrink. Nothing was changed, nor in what follows.
        InstanceUnacceptable: the flavor cannot be built.
        HostNotFound: ``dest`` is no host, no datastore and no cluster.
        MigrationPreCheckFailed: it cannot take the instance; the message says why.
        InvalidState: it is rescued, paused, in the middle of another resize, or it has snapshots
            and its disk would have to grow, or its ephemeral or swap disks to be exchanged.
        InvalidPowerState: it is suspended.
        FileAlreadyExists: there is a file where the grown root disk would be; it stays as it is.
        NoDiskSpace: the datastore has no room for the copy; all is as before.
    """
    tell(0)
    with Operation("resize") as run:
        plan = run(look_at(engine, vm, request))
        if plan.note.phase is Phase.RESIZED:
            tell(_CHANGED)
            return
        made = MadeFiles()
        run(note_resize(engine, vm, plan, made))
        tell(_NOTED)
        if plan.summary.hardware.files.power_state is not PowerState.POWERED_OFF:
            run(power.power_off_step(vm, request.patience))
        tell(_OFF)
        if plan.where is not None:
            plan = run(move_vm(engine, vm, plan, request))
            tell(_MOVED)
        if plan.root is not None:
            run(copy_root_disk(engine, plan, made))
            tell(_COPIED)
        run(change_size(vm, plan, request.flavor))
        tell(_CHANGED)


def plan_resize(summary: VmSummary, request: ResizeRequest, name: str) -> _Plan:
    """What is to be done, or why not; nothing is changed.

    Raises:
        As `migrate_disk_and_power_off`.
    """
    files = summary.hardware.files
    refuse_rescued(name, files.extra_config)
    refuse_suspended(name, files.extra_config, files.power_state)
    before = find_note(files.extra_config)
    if before is not None and before.phase is Phase.RESIZED:
        return _already_resized(summary, before, request, name)
    root = _growing_root(summary, request, name)
    extras = sizes_of(files)
    if wanted_sizes(BlockDevices(), _extras(request.flavor), extras) != extras:
        refuse_snapshots(summary, name)
    note = ResizeNote(
        phase=Phase.PREPARING,
        old=summary.size,
        new=_new_size(summary.size, request.flavor),
        root_bytes=units.gib_to_bytes(request.flavor.root_gib) if root else 0,
        dest=request.dest,
        moves=False,
        was_on=files.power_state is PowerState.POWERED_ON,
        host=summary.host,
        pool=summary.pool,
        datastore=DatastorePath.parse(files.vmx).datastore,
        wanted=_extras(request.flavor),
        extras=extras,
    )
    if before is None:
        return _Plan(summary=summary, note=note, is_new=True, root=root)
    if before.phase is not Phase.PREPARING or not before.asks_for_the_same_as(note):
        refuse_resized(name, files.extra_config)
    return _Plan(summary=summary, note=before, is_new=False, root=root)


def _already_resized(
    summary: VmSummary, before: ResizeNote, request: ResizeRequest, name: str
) -> _Plan:
    """The plan of a call that comes again: nothing is left to do."""
    files = summary.hardware.files
    wanted = replace(
        before,
        new=_new_size(before.old, request.flavor),
        root_bytes=units.gib_to_bytes(request.flavor.root_gib) if before.original else 0,
        dest=request.dest,
        wanted=_extras(request.flavor),
    )
    is_off = files.power_state is PowerState.POWERED_OFF
    if not is_off or not before.asks_for_the_same_as(wanted):
        refuse_resized(name, files.extra_config)
    return _Plan(summary=summary, note=before, is_new=False, root=None)


def _new_size(old: Size, flavor: Flavor) -> Size:
    """The flavor's, with sockets as they were where it does not say and that is possible."""
    size = flavor.size
    if size.cores_per_socket:
        return size
    fits = old.cores_per_socket and size.vcpus % old.cores_per_socket == 0
    return replace(size, cores_per_socket=old.cores_per_socket if fits else 1)


def _extras(flavor: Flavor) -> ExtraSizes:
    ephemerals = (flavor.ephemeral_gib,) if flavor.ephemeral_gib else ()
    return ExtraSizes(ephemerals_gib=ephemerals, swap_mib=flavor.swap_mib)


def _facts(flavor: Flavor) -> dict[str, str]:
    """What the VM's notes are to say; a root disk that no size is asked for stays as told."""
    facts = flavor_facts(flavor)
    return facts if flavor.root_gib else {k: v for k, v in facts.items() if k != "flavor:root_gb"}


def _growing_root(summary: VmSummary, request: ResizeRequest, name: str) -> VmDisk | None:
    """The root disk if it has to grow; one that is a volume, or not the VM's own, never has to.

    Raises:
        ResizeError: it would have to shrink.
        InvalidState: it has to grow, and has snapshots.
    """
    files = summary.hardware.files
    wanted = units.gib_to_bytes(request.flavor.root_gib)
    if not wanted or not files.disks:
        return None
    root = root_disk(summary.hardware, name)
    folder = own_folder(summary.hardware, name)
    own = DatastorePath.parse(root.file_name).is_below(folder)
    if not own or is_volume(files, root) or root.capacity_bytes == wanted:
        return None
    if wanted < root.capacity_bytes:
        raise ResizeError(
            f"{name} has a root disk of {units.human_bytes(root.capacity_bytes)}, which cannot"
            f" shrink to {request.flavor.root_gib} GiB. It was not touched."
        )
    refuse_snapshots(summary, name)
    return root


def refuse_snapshots(summary: VmSummary, name: str) -> None:
    """Let only machines through whose disks can be exchanged.

    Raises:
        InvalidState: it has snapshots, which hold its disks.
    """
    if summary.has_snapshots:
        raise InvalidState(f"{name} has snapshots: its disks cannot change. Delete them first.")


@step("Look at the VM")
def look_at(engine: Engine, vm: VirtualMachine, request: ResizeRequest) -> Reversible[_Plan]:
    """Read it in one read, and refuse what cannot be."""
    summary = read_summary(vm)
    if pass_over_marks(vm, called(vm), summary.hardware.files.extra_config):
        summary = read_summary(vm)
    plan = plan_resize(summary, request, called(vm))
    if plan.note.phase is Phase.PREPARING:
        where = find_destination(engine, summary, request.dest)
        note = replace(plan.note, moves=where is not None) if plan.is_new else plan.note
        if plan.is_new:
            note = replace(note, free=_free_names(engine, plan))
        plan = replace(plan, note=note, where=where)
        _refuse_taken(engine, plan)
    yield plan


def _free_names(engine: Engine, plan: _Plan) -> tuple[str, ...]:
    """Where new ephemeral and swap disks would be, and nothing is: each is looked at by HTTP."""
    files = plan.summary.hardware.files
    wanted = wanted_sizes(BlockDevices(), plan.note.wanted, plan.note.extras)
    if wanted == plan.note.extras:
        return ()
    there = [*ephemeral_disks(files), *filter(None, [swap_disk(files)])]
    paths = [counterpart(DatastorePath.parse(disk.file_name)) for disk in there]
    exists = engine.session.datastore_files.exists
    return tuple(str(path) for path in paths if not exists(path))


def _refuse_taken(engine: Engine, plan: _Plan) -> None:
    """See that nothing is where the grown disk will be, unless it is of an earlier resize.

    On another datastore the server takes a folder that is not there yet, or the VM's own.
    """
    if plan.grown is None or not plan.is_new:
        return
    files = plan.summary.hardware.files
    if str(plan.grown) not in replaced_disks(files.extra_config):
        elsewhere = plan.where is not None and plan.where.datastore
        name = elsewhere.name if elsewhere else plan.grown.datastore
        refuse_taken(engine.session, DatastorePath(name, plan.grown.path))


@step("Note the resize")
def note_resize(
    engine: Engine, vm: VirtualMachine, plan: _Plan, made: MadeFiles
) -> Reversible[None]:
    """Write the note before the first change; undone, everything that it knows of is put back.

    Whether a call that got no answer had its effect is looked up then, not guessed.
    """
    undo_power = plan.note.was_on
    mark, since = in_flight.mark("resize"), in_flight.owners_clock()
    begun = {extra_config.WORKER: mark}
    if plan.is_new:
        begun[extra_config.RESIZE] = plan.note.dump()
    files = plan.summary.hardware.files
    first = First(settings=files.extra_config, change_version=plan.summary.change_version)
    try:
        begin_marked(vm, begun, first)
    except Outrun:
        raise
    except BaseException:
        with undoing():
            put_back(engine.session, vm, made, power_on=undo_power)
        raise
    with leased(vm, extra_config.WORKER, "resize", mark, since):
        yield
        put_back(engine.session, vm, made, power_on=undo_power)


@step("Move the VM")
def move_vm(
    engine: Engine, vm: VirtualMachine, plan: _Plan, request: ResizeRequest
) -> Reversible[_Plan]:
    """Move it while it is off; on another datastore its disks have other paths."""
    assert plan.where is not None  # noqa: S101 - tells the type checker
    vm.relocate(plan.where.spec(engine.session, plan.summary))
    summary = read_summary(vm) if plan.where.datastore else plan.summary
    root = plan.root and root_disk(summary.hardware, called(vm))
    yield replace(plan, summary=summary, root=root)


@step("Copy the root disk, and let the copy grow")
def copy_root_disk(engine: Engine, plan: _Plan, made: MadeFiles) -> Reversible[None]:
    """Copy it beside itself, whole, also if it was a linked clone: those cannot grow.

    What an attempt that died has left is made anew: `look_at` has seen that nothing was there.
    """
    assert plan.root is not None  # noqa: S101 - tells the type checker
    assert plan.grown is not None  # noqa: S101
    disks, hardware = engine.session.virtual_disk_manager, plan.summary.hardware
    replaced = replaced_disks(hardware.files.extra_config)
    was_interrupted = not plan.is_new or str(plan.grown) in replaced
    if was_interrupted and engine.session.datastore_files.exists(plan.grown):
        disks.delete(plan.grown, missing_ok=True)
    adapter = hardware.controller(plan.root.controller_key).adapter
    with made.making(plan.grown):
        disks.copy(
            DatastorePath.parse(plan.root.file_name),
            plan.grown,
            plan.root.provisioning,
            DESCRIPTOR_ADAPTERS[adapter],
        )
    disks.extend(
        plan.grown, plan.note.root_bytes, eager=plan.root.provisioning == "eagerZeroedThick"
    )
    yield


@step("Change the size, and exchange the root disk")
def change_size(vm: VirtualMachine, plan: _Plan, flavor: Flavor) -> Reversible[None]:
    """One call: whoever looks finds either the old size, disk and note, or the new ones."""
    notes = plan.summary.annotation
    note = replace(plan.note, phase=Phase.RESIZED, old_facts=told_flavor(notes))
    disks: list[specs.DiskExchange] = []
    if plan.root is not None and plan.grown is not None:
        note = replace(
            note,
            original=plan.root.file_name,
            original_bytes=plan.root.capacity_bytes,
            controller_key=plan.root.controller_key,
            unit_number=plan.root.unit_number,
        )
        exchange = specs.DiskExchange(
            old_key=plan.root.key,
            destroy_old=False,
            new=plan.grown,
            new_bytes=plan.note.root_bytes,
            controller_key=plan.root.controller_key,
            unit_number=plan.root.unit_number,
        )
        disks.append(exchange)
    change = specs.Change(
        settings={extra_config.RESIZE: note.dump(), extra_config.WORKER: "", **note_replaced(())},
        size=note.new,
        disks=disks,
        annotation=with_flavor(notes, _facts(flavor)) if note.old_facts else None,
    )
    with in_flight.ending():
        vm.reconfigure(change.spec())
    yield
