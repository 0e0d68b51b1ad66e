"""What a guest shows: its screen as a picture, its serial port as text."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from vmops import units
from vmops.errors import FileNotFound, NotSupported, TransferFailed
from vmops.model.datastore_path import DatastorePath
from vmops.ops.guard.states import called_by_uuid
from vmops.vsphere.objects.lookup import with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

_messages = logging.getLogger(__name__)

MAX_LOG_BYTES = 100 * units.KIB


def screenshot(vm: VirtualMachine) -> bytes:
    """The guest's screen now, as PNG.

    Raises:
        InstanceNotFound: there is no such instance.
        InvalidPowerState: it is not running.
    """
    return vm.screen()


def serial_log(
    session: Session,
    instance_uuid: str,
    max_bytes: int = MAX_LOG_BYTES,
    *,
    log_dir: Path | None = None,
) -> bytes:
    """The tail of what the guest wrote to its serial port, at most ``max_bytes``.

    Nothing where the file is not there, or where the server refuses to give it, which is logged.
    Of an instance whose port does not write to a file it is what a concentrator has written to
    ``log_dir``, nothing if it has heard nothing.

    Raises:
        InstanceNotFound: there is no such instance.
        NotSupported: it has no serial port that writes to a file, and there is no ``log_dir``.
    """
    try:
        log = serial_log_path(session, instance_uuid)
    except NotSupported:
        if log_dir is None:
            raise
        return _concentrated(log_dir, instance_uuid, max_bytes)
    try:
        return session.datastore_files.tail(log, max_bytes)
    except FileNotFound:
        return b""
    except TransferFailed as refused:
        # As Nova's class has it: who looks at a log is not helped by an error instead.
        _messages.warning(
            "%s: no console output: %s", called_by_uuid(session, instance_uuid), refused
        )
        return b""


def _concentrated(log_dir: Path, instance_uuid: str, max_bytes: int) -> bytes:
    # The name as Nova's driver and its concentrator have it.
    log = log_dir / UUID(instance_uuid).hex
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - max_bytes))
            return stream.read(max_bytes)
    except FileNotFoundError:
        return b""


def follow_serial_log(session: Session, instance_uuid: str, max_bytes: int) -> Iterator[bytes]:
    """The log's tail, then what is added to it; b"" when there is nothing new.

    A log that became shorter was begun anew and is given from its start.

    Raises:
        InstanceNotFound: there is no such instance.
        NotSupported: it has no serial port that writes to a file.
    """
    log = serial_log_path(session, instance_uuid)
    at: int | None = None
    while True:
        try:
            size = session.datastore_files.size(log)
        except FileNotFound:
            size = 0
        if at is None:
            at = max(0, size - max_bytes)
        if size < at:
            at = 0
        if size > at:
            yield b"".join(session.datastore_files.download(log, start=at, end=size))
            at = size
        yield b""


def serial_log_path(session: Session, instance_uuid: str) -> DatastorePath:
    """Where the instance's first serial port writes to.

    Raises:
        InstanceNotFound: there is no such instance.
        Conflict: its files cannot be read.
        NotSupported: it has no serial port that writes to a file.
    """
    files = with_vm(session, instance_uuid, lambda vm: vm.files())
    if not files.serial_files:
        raise NotSupported(
            f"{called_by_uuid(session, instance_uuid)} has no serial port that writes to a file."
        )
    return DatastorePath.parse(files.serial_files[0])
