"""Volumes of instances: `VMwareVolumeOps`, with the methods of Nova's class."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from vmops.context import current, operation
from vmops.errors import InstanceNotFound, NotSupported
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.ops.engine.settings import EngineSettings
from vmops.ops.guard.exclusive import alone, instance_locks
from vmops.ops.guard.locks import InstanceLocks
from vmops.ops.vmops import shapes
from vmops.ops.vmops.block_devices import parse_adapter, parse_attachment, parse_volume
from vmops.ops.vmops.shapes import Shape
from vmops.ops.volumes.attach import attach_volume
from vmops.ops.volumes.detach import detach_volume
from vmops.progress import Observer, log_event
from vmops.specs import volumes as specs
from vmops.specs.places import Places
from vmops.units import kib_to_bytes
from vmops.vsphere.objects.host_adapters import iscsi_name
from vmops.vsphere.objects.lookup import find_vm, with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session


class VMwareVolumeOps:
    """Attaches volumes to instances and takes them off.

    `vmops.VMwareVMOps` makes one of its own, or takes any object with these methods.
    Every method may be called from any thread; two operations on one instance at once raise `Busy`
    for the second. Connections are those of Cinder's drivers: mappings, or those as JSON.
    """

    def __init__(
        self,
        session: Session,
        *,
        locks: InstanceLocks | None = None,
        observe: Observer = log_event,
        config: EngineSettings | None = None,
    ) -> None:
        """Keep what is given; ``locks`` are shared with whoever else works on the instances."""
        self._session = session
        self._locks = locks or instance_locks(session)
        self._observe = observe
        self._config = config

    def attach_volume(
        self, connection_info: Shape, instance: Shape, adapter_type: object = None
    ) -> None:
        """Attach a volume; see `vmops.ops.volumes.attach.attach_volume`.

        ``adapter_type`` None takes the connection's, else that of the instance's first disk.
        """
        attachment = parse_attachment(connection_info, adapter_type)
        self._on(instance, "attach volume", lambda vm: attach_volume(vm, attachment))

    def attach_root_volume(
        self, connection_info: Shape, instance: Shape, datastore: Any, adapter_type: object = None
    ) -> None:
        """Attach a volume and boot from it; see `vmops.ops.volumes.attach.attach_volume`.

        ``datastore`` is where Nova would move the volume to; here it stays where it is.
        """
        del datastore
        attachment = parse_attachment(connection_info, adapter_type)
        self._on(
            instance, "attach root volume", lambda vm: attach_volume(vm, attachment, as_root=True)
        )

    def detach_volume(self, connection_info: Shape, instance: Shape) -> None:
        """Take a volume off; see `vmops.ops.volumes.detach.detach_volume`."""
        volume = parse_volume(connection_info)
        self._on(instance, "detach volume", lambda vm: detach_volume(vm, volume))

    def get_volume_connector(self, instance: Shape) -> dict[str, str | None]:
        """What a volume service must know to let an instance at a volume.

        ``ip`` and ``host`` are the endpoint's, ``instance`` is the id of the instance's VM where it
        has one, and ``initiator`` the iSCSI name of the VM's host, None where it has no iSCSI
        adapter.
        """
        host = self._session.endpoint.host
        connector: dict[str, str | None] = {"ip": host, "host": host, "initiator": None}
        with contextlib.suppress(InstanceNotFound):
            vm = find_vm(self._session, shapes.instance_uuid(instance))
            connector["instance"] = vm.moid
            runs_on = vm.read("runtime.host").get("runtime.host")
            if runs_on is not None:
                connector["initiator"] = iscsi_name(self._session, runs_on)
        return connector

    def attach_disk_to_vm(  # noqa: PLR0913, PLR0917 - the signature is Nova's
        self,
        vm_ref: Any,
        instance: Shape,
        adapter_type: object,
        disk_type: object,
        vmdk_path: str | None = None,
        disk_size: int | None = None,
        linked_clone: bool = False,
    ) -> None:
        """Attach a disk that is there, by its path, at a free place on this adapter's kind.

        ``vm_ref`` is a reference or a moid, ``disk_size`` KiB. Its file says what else it is.

        Raises:
            NotSupported: it is to be created: ``vmdk_path`` is not given, or ``linked_clone`` is.
            UnsupportedDevice: there is no free place.
            FileNotFound, FileLocked: the disk is not there, or in use.
        """
        del disk_type
        if not vmdk_path or linked_clone:
            raise NotSupported(
                "Only an existing disk can be attached: give its vmdk_path, without linked_clone."
            )
        path = DatastorePath.parse(vmdk_path)
        adapter = parse_adapter(adapter_type) or AdapterType.LSI_LOGIC
        with self._alone(instance, "attach disk"):
            vm = self._machine(vm_ref)
            hardware = vm.hardware()
            places = Places(hardware.controllers, hardware.used)
            disk = specs.volume_disk(path, kib_to_bytes(disk_size or 0), places.take(adapter))
            spec = specs.attach_disk(disk, controllers=places.changes())
            vm.reconfigure(spec)

    def detach_disk_from_vm(
        self, vm_ref: Any, instance: Shape, device: Any, destroy_disk: bool = False
    ) -> None:
        """Take a disk off, ``device`` being it or its key; ``destroy_disk`` deletes its file, too.

        Raises:
            InvalidPowerState: it is on IDE, and the VM is on.
        """
        key = int(device if isinstance(device, int) else shapes.field(device, "key"))
        with self._alone(instance, "detach disk"):
            spec = specs.remove_disk(key, destroy=destroy_disk)
            self._machine(vm_ref).reconfigure(spec)

    def _machine(self, vm_ref: Any) -> VirtualMachine:
        if isinstance(vm_ref, VirtualMachine):
            return vm_ref
        name = vm_ref if isinstance(vm_ref, str) else shapes.field(vm_ref, "_moId", "value")
        return VirtualMachine.of(self._session, str(name))

    def _on(self, instance: Shape, purpose: str, do: Callable[[VirtualMachine], object]) -> None:
        with self._alone(instance, purpose) as uuid:
            with_vm(self._session, uuid, do)

    @contextlib.contextmanager
    def _alone(self, instance: Shape, purpose: str) -> Iterator[str]:
        uuid = shapes.instance_uuid(instance)
        # Inside an operation of an engine, that engine's settings hold.
        is_inside = bool(current().operation_id)
        settings = self._config or (None if is_inside else EngineSettings())
        with (
            operation(
                purpose.replace(" ", "_"),
                observe=self._observe,
                task_deadline_s=settings.task_deadline_s if settings else None,
                answers=settings.answers if settings else None,
            ),
            alone(self._session, self._locks, uuid, purpose, is_part=True),
        ):
            yield uuid
