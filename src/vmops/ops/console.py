"""What a guest shows: its screen as a picture, its serial port as text."""

from __future__ import annotations

from vmops.errors import FileNotFound, NotSupported
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.lookup import with_vm
from vmops.vsphere.session import Session
from vmops.vsphere.virtual_machine import VirtualMachine

MAX_LOG_BYTES = 100 * 1024


def screenshot(session: Session, instance_uuid: str) -> bytes:
    """The guest's screen now, as PNG.

    Raises:
        InstanceNotFound: there is no such instance.
        InvalidPowerState: it is not running.
    """
    return with_vm(session, instance_uuid, lambda vm: vm.screen())


def serial_log(session: Session, instance_uuid: str, max_bytes: int = MAX_LOG_BYTES) -> bytes:
    """The tail of what the guest wrote to its serial port, at most ``max_bytes``.

    Raises:
        InstanceNotFound: there is no such instance.
        NotSupported: it has no serial port that writes to a file.
    """

    def read(vm: VirtualMachine) -> bytes:
        files = vm.files().serial_files
        if not files:
            raise NotSupported(
                f"Instance {instance_uuid} has no serial port that writes to a file."
            )
        try:
            return session.datastore_files.tail(DatastorePath.parse(files[0]), max_bytes)
        except FileNotFound:
            return b""

    return with_vm(session, instance_uuid, read)
