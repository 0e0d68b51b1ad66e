"""The second half of a resize: the disks that come with the new flavor, and the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from vmops.errors import FileAlreadyExists, InvalidPowerState, NotResized
from vmops.model import extra_config
from vmops.model.block_devices import BlockDevices, EphemeralDisk
from vmops.model.datastore_path import DatastorePath
from vmops.model.power import PowerState
from vmops.ops.engine.extra_disks import ephemeral_disks, swap_disk, wanted_sizes
from vmops.ops.engine.made_files import MadeFiles
from vmops.ops.engine.own_disks import own_folder, root_disk
from vmops.ops.guard.preconditions import refuse_resized
from vmops.ops.guard.states import called
from vmops.ops.instances import power
from vmops.ops.notes.resize import (
    Exchanged,
    ExtraSizes,
    Phase,
    ResizeNote,
    counterpart,
    find_note,
    known_note,
    numbered,
)
from vmops.ops.resize.begin import Tell, refuse_snapshots
from vmops.specs import resize as specs
from vmops.specs.disks import ExtraDisk, extra_disks
from vmops.specs.places import Place, Places
from vmops.steps import Operation, Reversible, noting, step
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_summary import VmSummary, read_summary
from vmops.vsphere.session import Session

# A disk's own name, and with numbers behind it.
_NAMES = 10
_EXCHANGED, _DONE = 90, 100
SWAP = "swap.vmdk"


def finish_migration(
    vm: VirtualMachine, devices: BlockDevices, tell: Tell, *, power_on: bool | None
) -> None:
    """Start an instance that `vmops.ops.resize.begin` has changed; one that is on stays on.

    With ``power_on`` None it is started if it ran before the resize.

    1. Exchange the ephemeral and swap disks
    2. Power on

    Step 1 is that of a new flavor, or of ``devices``, which ask for others than it has. The new
    ones are empty: what is on an ephemeral or swap disk of another size is not copied. The old ones
    are kept until the resize is confirmed, and a revert puts them back. One that has its size
    already is not touched.

    Raises:
        InstanceNotFound: there is no such instance.
        NotResized: no resize is under way.
        InvalidState: it was interrupted before it had changed the size, or is being reverted; or
            it has snapshots, which hold the disks.
        InvalidPowerState: it runs already, with other ephemeral or swap disks than it should.
        UnsupportedDevice: there is no place for so many disks.
        NoDiskSpace: the datastore has no room for the new ones.
    """
    note = _note_of(vm)
    with Operation("finish resize") as run:
        # Once exchanged they are the right ones, however often this is called.
        if not note.exchanged and _wanted(note, devices) != note.extras:
            run(exchange_disks(vm.session, vm, devices))
            tell(_EXCHANGED)
        if note.was_on if power_on is None else power_on:
            run(power.power_on_step(vm))
    tell(_DONE)


def _note_of(vm: VirtualMachine) -> ResizeNote:
    note, _ = known_note(vm)
    if note is None or note.phase is not Phase.RESIZED:
        settings = {extra_config.RESIZE: vm.extra_config(extra_config.RESIZE)}
        note = find_note(settings)
        if note is None:
            raise NotResized(f"{called(vm)} is not being resized: there is nothing to finish.")
        if note.phase is not Phase.RESIZED:
            refuse_resized(called(vm), settings)
    return note


def _wanted(note: ResizeNote, devices: BlockDevices) -> ExtraSizes:
    return wanted_sizes(devices, note.wanted, note.extras)


@step("Exchange the ephemeral and swap disks")
def exchange_disks(session: Session, vm: VirtualMachine, devices: BlockDevices) -> Reversible[None]:
    """One call takes the old ones off, creates the new ones and notes both."""
    summary, name = read_summary(vm), called(vm)
    files = summary.hardware.files
    note = find_note(files.extra_config)
    if note is None:
        raise NotResized(f"{name} is not being resized: there is nothing to finish.")
    wanted = _wanted(note, devices)
    if not note.exchanged and wanted != note.extras:
        refuse_snapshots(summary, name)
        if files.power_state is not PowerState.POWERED_OFF:
            raise InvalidPowerState(
                f"{name} is on: its ephemeral and swap disks cannot be exchanged. Power it off."
            )
        change, new = _plan(session, summary, note, wanted, devices, name)
        made = MadeFiles()
        try:
            try:
                vm.reconfigure(change.spec())
            except FileAlreadyExists:
                # Of an attempt that died, where nothing was when the resize began.
                _delete_loose(session, vm, [path for path in new if str(path) in note.free])
                with made.making(*new):
                    vm.reconfigure(change.spec())
        except BaseException as failure:
            with noting(failure, "delete the new disks"):
                wait_for_recent_tasks(session, vm.moref)
                _delete_loose(session, vm, made.own(new))
            raise
    yield


def _plan(
    session: Session,
    summary: VmSummary,
    note: ResizeNote,
    wanted: ExtraSizes,
    devices: BlockDevices,
    name: str,
) -> tuple[specs.Change, list[DatastorePath]]:
    """The change, and the disks that it creates, at paths where nothing is."""
    hardware = summary.hardware
    root = root_disk(hardware, name)
    pairs = list(
        _pairs(
            summary,
            extra_disks(
                own_folder(hardware, name),
                _blank(wanted, devices),
                hardware.controller(root.controller_key).adapter,
            ),
        )
    )
    places = Places(hardware.controllers, hardware.used)
    disks, exchanged = [], []
    for old, new in pairs:
        path = None
        if new is not None:
            path = counterpart(DatastorePath.parse(old.file_name)) if old else new.path
            path = path if str(path) in note.free else _free(session, path)
        if old is not None:
            place = Place(controller_key=old.controller_key, unit_number=old.unit_number)
        else:
            assert new is not None  # noqa: S101 - a pair is never empty
            place = places.take(new.adapter)
        disks.append(
            specs.DiskExchange(
                old_key=old.key if old else None,
                destroy_old=False,
                new=path,
                new_bytes=new.capacity_bytes if new else 0,
                controller_key=place.controller_key,
                unit_number=place.unit_number,
                is_blank=True,
            )
        )
        exchanged.append(
            Exchanged(
                old=old.file_name if old else "",
                old_bytes=old.capacity_bytes if old else 0,
                controller_key=place.controller_key,
                unit_number=place.unit_number,
                new=str(path) if path else "",
            )
        )
    done = replace(note, extras=wanted, exchanged=tuple(exchanged))
    change = specs.Change(
        settings={extra_config.RESIZE: done.dump()}, disks=disks, controllers=places.changes()
    )
    return change, [each.new for each in disks if each.new is not None]


def _free(session: Session, path: DatastorePath) -> DatastorePath:
    """A path where nothing is."""
    for number in range(_NAMES):
        free = numbered(path, number)
        if not session.datastore_files.exists(free):
            return free
    raise FileAlreadyExists(f"There is a file {path} already, as there are with numbers behind it.")


def _blank(wanted: ExtraSizes, devices: BlockDevices) -> BlockDevices:
    """The wanted disks, on the adapters that ``devices`` ask for."""
    ephemerals = devices.ephemerals or tuple(
        EphemeralDisk(size_gib=size) for size in wanted.ephemerals_gib
    )
    return BlockDevices(ephemerals=ephemerals, swap_mib=wanted.swap_mib)


def _pairs(
    summary: VmSummary, wanted: tuple[ExtraDisk, ...]
) -> Iterator[tuple[VmDisk | None, ExtraDisk | None]]:
    """What goes with what comes in its place; a disk of the right size is in no pair."""
    files = summary.hardware.files
    swap = next((disk for disk in wanted if disk.path.name == SWAP), None)
    ephemerals = [disk for disk in wanted if disk is not swap]
    for old, new in [*zip_longest(ephemeral_disks(files), ephemerals), (swap_disk(files), swap)]:
        if (old and old.capacity_bytes) != (new and new.capacity_bytes):
            yield old, new


def _delete_loose(session: Session, vm: VirtualMachine, disks: list[DatastorePath]) -> None:
    """Delete those of the new disks that are there and that the VM has not got."""
    attached = {disk.file_name for disk in vm.files().disks}
    for path in disks:
        if str(path) not in attached and session.datastore_files.exists(path):
            session.virtual_disk_manager.delete(path, missing_ok=True)
