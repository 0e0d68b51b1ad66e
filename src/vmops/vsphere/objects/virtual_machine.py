"""One virtual machine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pyVmomi import vim

from vmops import units
from vmops.errors import (
    Conflict,
    InvalidPowerState,
    ManagedObjectNotFound,
    NotSupported,
    VMOpsError,
)
from vmops.model.datastore_path import DatastorePath
from vmops.model.entity_name import escaped
from vmops.model.power import PowerState
from vmops.vsphere.live.kinds import power_state
from vmops.vsphere.live.records import VmInfo
from vmops.vsphere.objects import vm_files, vm_hardware, vm_nics
from vmops.vsphere.objects.questions import answering
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles
from vmops.vsphere.objects.vm_hardware import VmHardware
from vmops.vsphere.objects.vm_nics import VmNics
from vmops.vsphere.session import Session
from vmops.vsphere.wire.answers import whole
from vmops.vsphere.wire.http_access import refusal
from vmops.vsphere.wire.moref import Moref, moid

__all__ = ["VirtualMachine", "VmDisk", "VmFiles"]

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PICTURE_BYTES = 32 * units.MIB


class VirtualMachine:
    """What can be done with a virtual machine. Each method is one call, and waits for its task.

    All raise ManagedObjectNotFound once it is gone; those that take a deadline raise TimedOut.
    """

    def __init__(self, session: Session, moref: Moref, instance_uuid: str = "") -> None:
        """``instance_uuid`` is that of the instance which it was found as, if it was."""
        self.session = session
        self.moref = moref
        self.instance_uuid = instance_uuid

    @classmethod
    def of(cls, session: Session, name: str) -> VirtualMachine:
        """The virtual machine of this moid; whether it exists shows at the first call."""
        return cls(session, vim.VirtualMachine(name))

    def __repr__(self) -> str:
        return f"<VirtualMachine {self.moid}>"

    @property
    def moid(self) -> str:
        """The server's name of it: "vm-12"."""
        return moid(self.moref)

    # Looking

    def read(self, *paths: str) -> dict[str, Any]:
        """The values of these properties now, by path; what is unset is absent.

        Raises:
            InvalidArgument: there is no such property.
        """
        return self.session.properties.read_one(self.moref, *paths)

    def power_state(self) -> PowerState | None:
        """The power state now, None where the server does not tell."""
        return power_state(self.read("runtime.powerState").get("runtime.powerState"))

    def needs_consolidation(self) -> bool:
        """Whether it writes now to layers of snapshots that are not there any more."""
        return bool(self.read(vm_files.CONSOLIDATION).get(vm_files.CONSOLIDATION))

    def known(self) -> VmInfo | None:
        """What the live inventory last heard of it; costs no call.

        None if the inventory is not loaded or does not know it.
        """
        inventory = self.session.inventory
        return inventory.vm(self.moid) if inventory.is_loaded else None

    def known_power_state(self) -> PowerState | None:
        """Its power state as the live inventory has it; None where that is not known."""
        known = self.known()
        return None if known is None else known.power_state

    def known_name(self) -> str:
        """Its name as the live inventory has it, or as it was told; "" where it is not known."""
        known = self.known()
        told = self.session.names_told.get(self.instance_uuid, "")
        return told if known is None else known.name

    def extra_config(self, key: str) -> str:
        """The value of one key of its ``extraConfig`` now, "" if there is no such key."""
        options = self.read("config.extraConfig").get("config.extraConfig") or ()
        return str({o.key: o.value for o in options}.get(key, ""))

    def files(self) -> VmFiles:
        """What it consists of on its datastores, in one read."""
        return vm_files.files_from(_configured(self.read(*vm_files.PATHS)))

    def hardware(self) -> VmHardware:
        """Its disks and controllers with their places, and how it boots, in one read."""
        return vm_hardware.hardware_from(_configured(self.read(*vm_hardware.PATHS)))

    def nics(self) -> VmNics:
        """Its NICs and the interfaces they are, in one read."""
        return vm_nics.nics_from(self.read(*vm_nics.PATHS))

    def nics_and_addresses(self) -> tuple[VmNics, dict[str, tuple[str, ...]]]:
        """The same with the addresses that the guest tells, by MAC address; still one read."""
        values = self.read(*vm_nics.PATHS, "guest.net")
        return vm_nics.nics_from(values), vm_nics.guest_addresses(values.get("guest.net"))

    def hardware_and(self, *paths: str) -> tuple[VmHardware, dict[str, Any]]:
        """The same with other properties, still in one read."""
        values = _configured(self.read(*vm_hardware.PATHS, *paths))
        return vm_hardware.hardware_from(values), values

    def disk_paths(self) -> tuple[DatastorePath, ...]:
        """Where its virtual disks are."""
        return tuple(DatastorePath.parse(disk.file_name) for disk in self.files().disks)

    # Power

    def power_on(self) -> None:
        """Power on, or resume a suspended VM; see `objects.questions` for what it may ask.

        Raises:
            InvalidPowerState: it is on already.
            Exhausted: no host has the CPU or memory for it.
            QuestionPending: it asks what no rule answers; it was told to cancel.
        """
        with answering(self.session, self.moref):
            self._run("PowerOnVM_Task")

    def power_off(self) -> None:
        """Power off without asking the guest.

        Raises:
            InvalidPowerState: it is off already.
        """
        self._run("PowerOffVM_Task")

    def suspend(self) -> None:
        """Write the memory to a file and stop.

        Raises:
            InvalidPowerState: it is not on.
        """
        self._run("SuspendVM_Task")

    def reset(self) -> None:
        """Press the reset button.

        Raises:
            InvalidPowerState: it is not on.
        """
        self._run("ResetVM_Task")

    def shutdown_guest(self) -> None:
        """Ask the guest to shut down, and do not wait for it.

        Raises:
            ToolsUnavailable: the guest runs no VMware Tools.
            InvalidPowerState: it is not on.
        """
        self.session.call(self.moref, "ShutdownGuest")

    def reboot_guest(self) -> None:
        """Ask the guest to reboot, and do not wait for it; raises as `shutdown_guest`."""
        self.session.call(self.moref, "RebootGuest")

    # Changing

    def reconfigure(self, spec: vim.vm.ConfigSpec) -> None:
        """Change what a ``ConfigSpec`` names.

        Raises:
            Busy: another operation changed it meanwhile (``changeVersion``), or works on it.
            UnsupportedDevice: a device of the spec cannot be.
            FileNotFound, FileLocked: a disk's file is missing or in use.
        """
        self._run("ReconfigVM_Task", spec=spec)

    def detach_devices(
        self, keys: Collection[int], *, settings: Sequence[vim.option.OptionValue] = ()
    ) -> None:
        """Take devices off, leaving their files; keys that are not there are passed over.

        ``settings`` are set in its ``extraConfig`` in the same change.
        """
        devices = self.read("config.hardware.device").get("config.hardware.device") or ()
        changes = [
            vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
            for device in devices
            if device.key in keys
        ]
        if changes:
            spec = vim.vm.ConfigSpec(deviceChange=changes, extraConfig=list(settings))
            self.reconfigure(spec)

    def attach_first_class_disk(
        self, disk_id: str, datastore: Moref, controller_key: int, unit_number: int
    ) -> None:
        """Attach a first class disk at a free place.

        Raises:
            NotFound: the datastore has no such disk.
            Busy: another virtual machine has it.
            UnsupportedDevice: the place is taken or cannot be.
        """
        self._run(
            "AttachDisk_Task",
            diskId=vim.vslm.ID(id=disk_id),
            datastore=datastore,
            controllerKey=controller_key,
            unitNumber=unit_number,
        )

    def detach_first_class_disk(self, disk_id: str) -> None:
        """Take a first class disk off.

        Raises:
            NotFound: the virtual machine does not have it.
        """
        self._run("DetachDisk_Task", diskId=vim.vslm.ID(id=disk_id))

    def rename(self, name: str) -> None:
        """Rename it in the inventory; its files keep their names.

        Raises:
            DuplicateName: the folder has one of this name.
            InvalidName: the name is not allowed.
        """
        self._run("Rename_Task", newName=escaped(name))

    def relocate(self, spec: vim.vm.RelocateSpec) -> None:
        """Move it to another host, pool or datastore, as a ``RelocateSpec`` says."""
        self._run("RelocateVM_Task", spec=spec)

    def destroy(self, *, missing_ok: bool = False) -> None:
        """Remove it with all its files.

        Raises:
            InvalidPowerState: it is on.
        """
        try:
            self._run("Destroy_Task")
        except ManagedObjectNotFound:
            if not missing_ok:
                raise

    def unregister(self, *, missing_ok: bool = False) -> None:
        """Make the server forget it; its files stay.

        Raises:
            InvalidPowerState: it is on.
        """
        try:
            self.session.call(self.moref, "UnregisterVM")
        except ManagedObjectNotFound:
            if not missing_ok:
                raise

    # The screen

    def screen(self) -> bytes:
        """A picture of the screen now, as PNG.

        Raises:
            InvalidPowerState: it is not on.
            NotSupported: the endpoint gives no pictures.
        """
        with self.session.http.exchange("GET", f"/screen?id={self.moid}") as response:
            status, picture = response.status, whole(response, _MOST_PICTURE_BYTES)
        if status == 200 and picture.startswith(_PNG):
            return picture
        raise self._no_screen(status)

    def _no_screen(self, status: int) -> VMOpsError:
        state = self.power_state()
        if state is not PowerState.POWERED_ON:
            word = state or "in no known state"
            return InvalidPowerState(f"The virtual machine is {word}: it has no screen.")
        if status in {200, 404}:
            return NotSupported("The endpoint gives no pictures of screens.")
        return refusal(status, f"the screen of {self.known_name() or self.moid}", "reading")

    def _run(self, method: str, **arguments: object) -> Any:
        return self.session.run_task(self.moref, method, **arguments)


def _configured(values: dict[str, Any]) -> dict[str, Any]:
    """The values, if they are those of a VM whose configuration the server can read.

    Raises:
        Conflict: it cannot; what is not told must not be taken for what is not there.
    """
    if not values.get("config.files.vmPathName"):
        raise Conflict("The server does not tell the virtual machine's configuration.")
    return values
