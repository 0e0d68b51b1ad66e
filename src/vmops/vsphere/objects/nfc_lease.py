"""A lease on the disks of a virtual machine that is being imported or exported."""

from __future__ import annotations

import http
import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self, TypeAlias

from vmops.context import current
from vmops.errors import (
    Conflict,
    ConnectionLost,
    ManagedObjectNotFound,
    TimedOut,
    TransferFailed,
    VMOpsError,
)
from vmops.progress import Event, Observer, TransferProgress
from vmops.vsphere.live.watch_list import LEASE
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session
from vmops.vsphere.wire import faults
from vmops.vsphere.wire.answers import drain
from vmops.vsphere.wire.http_access import refusal
from vmops.vsphere.wire.moref import Moref, describe
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.transfer import Progress, Upload, body

if TYPE_CHECKING:
    from pyVmomi import vim

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 600.0
LEASE_TIMEOUT_S = 300
"""So many seconds after the last sign of life the server ends a lease, unless it says otherwise."""
_STREAM_TYPE = "application/x-vnd.vmware-streamVmdk"

Purpose: TypeAlias = Literal["import", "export"]
_BEGUN_BY: dict[Purpose, str] = {"import": "ImportVApp", "export": "ExportSnapshot"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUrl:
    """Where the bytes of one disk go. ``size_bytes`` is 0 where the server does not tell."""

    key: str
    host: str
    port: int
    target: str
    is_disk: bool
    size_bytes: int
    certificate: str
    thumbprint: str


class NfcLease:
    """Takes or gives disks' bytes. Use in a ``with``: what was not completed is aborted at its end.

    An aborted import takes the half-made virtual machine with it. While the lease is held, a thread
    tells the server so, because a lease that is not heard of expires.
    """

    def __init__(self, session: Session, moref: Moref, purpose: Purpose = "import") -> None:
        self._session = session
        self.moref = moref
        self._purpose = purpose
        self._values: dict[str, Any] = {}
        self._percent = 0
        self._ended = threading.Event()
        self._keeper: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._ended.is_set():
            self.abort()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> tuple[DeviceUrl, ...]:
        """Wait until bytes can be sent, and return where to.

        Raises:
            TimedOut: the server did not get ready within ``timeout_s`` seconds.
            VMOpsError: it could not; its fault, translated.
        """
        if not self._values:
            with self._session.watch_list.watch(self.moref) as watched:
                if not self._session.watch_list.wait(watched, timeout_s):
                    raise TimedOut(
                        f"The {self._purpose} did not get ready within {timeout_s:g} seconds."
                    )
            if watched.is_gone:
                raise ManagedObjectNotFound(describe(self.moref))
            values = self._ready_values(watched.values)
            if "info.entity" not in values:  # a server may tell of the state first
                values = self._session.properties.read_one(self.moref, *LEASE.paths)
            self._values = values
            self._keep()
        return tuple(self._device_url(url) for url in self._values.get("info.deviceUrl") or ())

    def _ready_values(self, values: dict[str, Any]) -> dict[str, Any]:
        state = str(values.get("state"))
        if state == "error":
            fault = values.get("error")
            raise (
                faults.translate(fault, method=_BEGUN_BY[self._purpose])
                if fault is not None
                else TransferFailed(f"The {self._purpose} failed; the server does not say why.")
            )
        if state == "done":
            raise Conflict(f"{describe(self.moref)} has ended.")
        return values

    def upload(
        self, source: BinaryIO, size_bytes: int, *, name: str = "", device: DeviceUrl | None = None
    ) -> None:
        """Send a streamOptimized disk: exactly ``size_bytes`` from ``source``.

        ``device`` None is the first disk.

        Raises:
            TransferFailed: the source is shorter or longer, or the server refuses; with the status.
            NoDiskSpace: the datastore is full.
            ConnectionLost: the host cannot be reached or went away.
            CertificateRefused: the host is not the one that the lease names.
        """
        devices = self.wait_ready()
        if device is None:
            disks = [each for each in devices if each.is_disk]
            if not disks:
                raise TransferFailed("The lease has no disk to send bytes to.")
            device = disks[0]
        progress = Progress(self._watch(size_bytes), name or device.key, size_bytes)
        post = Upload(
            method="POST",
            target=device.target,
            headers={"Content-Type": _STREAM_TYPE, "Overwrite": "t"},
            source=source,
            size_bytes=size_bytes,
        )
        with self._pool(device) as pool:
            status = self._session.http.send(post, progress, pool)
        if status >= 400 or status < 200:
            raise self._refusal(status, name or device.key, "importing")

    def download(
        self, device: DeviceUrl, *, name: str = "", most_bytes: int | None = None
    ) -> Generator[bytes, None, None]:
        """The bytes of a disk that is being exported, streamOptimized, in blocks.

        Raises:
            TransferFailed: the server refuses, or the bytes end too early, with the status; or
                there are more than ``most_bytes``.
            ConnectionLost: the host cannot be reached or went away.
            CertificateRefused: the host is not the one that the lease names.
        """
        size = device.size_bytes
        progress = Progress(self._watch(size), name or device.key, size or None)
        with self._pool(device) as pool, self._session.http.fetch(device.target, pool) as response:
            if response.status != http.HTTPStatus.OK:
                drain(response)
                raise self._refusal(response.status, name or device.key, "exporting")
            for block in body(response, "the export", most_bytes):
                progress.add(len(block))
                yield block

    def _refusal(self, status: int, what: str, doing: str) -> VMOpsError:
        """Why the server took or gave no bytes: in the lease's words, where it has any."""
        plain = refusal(status, what, doing)
        try:
            told = self._session.properties.read_one(self.moref, "state", "error")
        except VMOpsError as error:
            log.debug("%s says no more: %s", describe(self.moref), error)
            return plain
        fault = told.get("error")
        if fault is None:
            return plain
        told_error = faults.translate(fault, method=_BEGUN_BY[self._purpose])
        told_error.add_note(f"It was {doing} {what}: {plain}")
        return told_error

    def complete(self) -> VirtualMachine:
        """Say that all bytes are there, and return the virtual machine.

        Raises:
            VMOpsError: the server's fault; the lease is then still to be aborted.
        """
        self.wait_ready()
        vm = VirtualMachine(self._session, self._values["info.entity"])
        try:
            self._session.call(self.moref, "HttpNfcLeaseComplete")
        except ConnectionLost:
            if not self._was_completed(vm):
                raise
        self._stop()
        return vm

    def _was_completed(self, vm: VirtualMachine) -> bool:
        """Whether a completion whose answer got lost has happened."""
        try:
            return self._session.properties.read_one(self.moref, "state").get("state") == "done"
        except ManagedObjectNotFound:
            pass
        try:  # An ended lease may be forgotten at once; its VM outlives it only if completed.
            return bool(vm.read("name"))
        except ManagedObjectNotFound:
            return False

    def abort(self) -> None:
        """Give it up; the server removes what there is of an import. Never raises."""
        self._stop()
        try:
            self._session.call(self.moref, "HttpNfcLeaseAbort")
        except VMOpsError as error:
            log.warning("Could not abort %s: %s", describe(self.moref), error)

    def _watch(self, size_bytes: int) -> Observer:
        observe = current().observe

        def watch(event: Event) -> None:
            if isinstance(event, TransferProgress):
                self._percent = min(event.done_bytes * 100 // max(size_bytes, 1), 99)
            observe(event)

        return watch

    def _device_url(self, url: vim.HttpNfcLease.DeviceUrl) -> DeviceUrl:
        where = self._session.client.pool.address.named(str(url.url))
        return DeviceUrl(
            key=str(url.key or ""),
            host=where.host,
            port=where.port,
            target=where.target,
            is_disk=bool(url.disk),
            size_bytes=int(url.fileSize or 0),
            certificate=str(getattr(url, "sslCertificate", None) or ""),
            thumbprint=str(url.sslThumbprint or ""),
        )

    @contextmanager
    def _pool(self, device: DeviceUrl) -> Iterator[ConnectionPool]:
        """The session's connections, or those to another host, which are closed at the end."""
        own = self._session.client.pool
        if (device.host, device.port) == (own.address.host, own.address.port):
            yield own
            return
        trust = own.trust.of_host(device.certificate, device.thumbprint)
        pool = ConnectionPool(own.address.at(device.host, device.port), trust, own.limits)
        try:
            yield pool
        finally:
            pool.close()

    def _keep(self) -> None:
        lease_s = int(self._values.get("info.leaseTimeout") or LEASE_TIMEOUT_S)
        self._keeper = threading.Thread(
            target=copy_context().run,
            args=(self._keep_alive, max(lease_s / 4, 0.1)),
            name="vmops-lease",
            daemon=True,
        )
        self._keeper.start()

    def _keep_alive(self, every_s: float) -> None:
        while not self._ended.wait(every_s):
            try:
                self._session.call(self.moref, "HttpNfcLeaseProgress", percent=self._percent)
            except VMOpsError as error:
                log.warning("Could not keep %s alive: %s", describe(self.moref), error)

    def _stop(self) -> None:
        self._ended.set()
        if self._keeper is not None:
            self._keeper.join(5.0)
