"""HttpNfcLease: the time-limited right to send a virtual machine's disks, or to fetch them.

A lease that is not kept alive by HttpNfcLeaseProgress expires as on vSphere: it ends in an error,
and what an import had made so far is destroyed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, ClassVar, Literal, cast
from uuid import uuid4

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument, invalid_state
from vmops.lab.inventory.lab_address import LabAddress
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.storage.paths import DatastorePath

log = logging.getLogger(__name__)

KEPT_S = 300.0
"""How long a lease that has ended can still be read."""

COMPLETE_PATIENCE_S = 10.0
"""How long completing waits for bytes that are on their way: oslo.vmware completes a lease before
it has read the answer to its upload."""

_State = vim.HttpNfcLease.State
_CHECKSUMS = ("sha1", "sha256")
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What went over the wire for one disk: its length and checksums, and the disk's capacity."""

    size_bytes: int
    sha1: str
    checksum_type: str
    checksum: str
    capacity_bytes: int


@dataclass(slots=True, kw_only=True)
class LeaseDisk:
    """One disk of a lease; ``file_name`` is the last part of its URL."""

    key: str
    import_key: str
    device_key: int
    file_name: str
    path: DatastorePath
    capacity_bytes: int
    checksum_type: str = "sha1"
    transfer: Transfer | None = None
    is_busy: bool = False
    """It is being transferred."""
    is_on_the_wire: bool = False
    """Its bytes are still being transferred; not so while they are made into a disk."""


class HttpNfcLease(ManagedObject):
    """A lease, in state ``initializing`` until `make_ready` or `fail` is called."""

    wire_type = vim.HttpNfcLease
    timeout_s: ClassVar[int] = 300
    """Seconds after which a lease without a word from its client expires."""

    def __init__(
        self,
        kernel: Kernel,
        mode: Literal["push", "pull"],
        undo: Callable[[], Awaitable[None]] | None = None,
        finish: Callable[[], None] | None = None,
    ) -> None:
        """Prepare a lease.

        Args:
            kernel: the lab.
            mode: push: the client sends; pull: it fetches.
            undo: takes back what was made, when the lease ends in an error.
            finish: called when the client has completed it.
        """
        self.token = str(uuid4())
        super().__init__(kernel, f"session[{uuid4()}]{self.token}")
        self.mode = mode
        self.disks: list[LeaseDisk] = []
        self.vm: Reference | None = None
        """The virtual machine's reference, once ready."""
        self.snapshot: Any = None
        """The reference of the snapshot whose disks are fetched, if they are a snapshot's."""
        self._undo = undo
        self._finish = finish
        self._timer: asyncio.TimerHandle | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._transfers: set[asyncio.Task[object]] = set()
        self.properties.update(
            state=_State.initializing,
            initializeProgress=0,
            transferProgress=0,
            mode="pushOrGet",
            capabilities=vim.HttpNfcLease.Capabilities(
                pullModeSupported=False, corsSupported=False
            ),
        )

    @property
    def state(self) -> str:
        """``initializing``, ``ready``, ``done`` or ``error``."""
        return str(self.properties["state"])

    def start(self, prepare: Coroutine[None, None, None]) -> None:
        """Run ``prepare`` in the background; a fault it raises ends the lease."""

        async def run() -> None:
            try:
                await prepare
            except vmodl.MethodFault as fault:
                await self.fail(fault)
            except Exception as error:  # a lease must end in a state, whatever its code does
                log.exception("lease %s", self.moid)
                reason = f"A general system error occurred: {type(error).__name__}"
                await self.fail(vmodl.fault.SystemError(reason=reason, msg=reason))

        self._spawn(run())

    def make_ready(self, vm: Reference, disks: list[LeaseDisk], address: LabAddress) -> None:
        """Publish the URLs of a virtual machine's disks and start the clock."""
        self.vm = vm
        self.disks = disks
        base, thumbprint = f"{address.base_url}/nfc/{self.token}/", address.thumbprint
        urls = [
            vim.HttpNfcLease.DeviceUrl(
                key=disk.key,
                importKey=disk.import_key,
                url=f"{base}{disk.file_name}",
                sslThumbprint=thumbprint,
                disk=True,
                targetId=disk.file_name,
                datastoreKey=base,
            )
            for disk in disks
        ]
        host = vim.HttpNfcLease.HostInfo(url=base, sslThumbprint=thumbprint)
        info = vim.HttpNfcLease.Info(
            lease=self.ref,
            entity=vm,
            deviceUrl=urls,
            totalDiskCapacityInKB=sum(disk.capacity_bytes for disk in disks) // 1024,
            leaseTimeout=self.timeout_s,
            hostMap=[vim.HttpNfcLease.DatastoreLeaseInfo(datastoreKey=host.url, hosts=[host])],
        )
        self.kernel.update(self, {"info": info, "initializeProgress": 100, "state": _State.ready})
        self._restart_clock()

    async def fail(self, fault: vmodl.MethodFault | None) -> None:
        """End the lease with an error and take back what was made; nothing if it has ended."""
        if self.state in (_State.done, _State.error):
            return
        self._end(_State.error, fault)
        running = self._transfers - {asyncio.current_task()}
        for transfer in running:
            transfer.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        try:
            if self._undo is not None:
                await self._undo()
        except vmodl.MethodFault:
            log.exception("lease %s: what was made for it stays", self.moid)

    @contextmanager
    def transferring(self, disk: LeaseDisk) -> Iterator[None]:
        """Mark the disk as being transferred by the current task; it ends with the lease.

        Raises:
            vim.fault.InvalidState: the lease is not ready, or the disk is being transferred.
        """
        if self.state != _State.ready:
            raise invalid_state(f"The lease is not ready but {self.state}.")
        if disk.is_busy:
            raise invalid_state(f"{disk.file_name} is being transferred.")
        task = cast("asyncio.Task[object]", asyncio.current_task())
        disk.is_busy = disk.is_on_the_wire = True
        self._transfers.add(task)
        try:
            yield
        finally:
            disk.is_busy = disk.is_on_the_wire = False
            self._transfers.discard(task)

    def HttpNfcLeaseGetManifest(self) -> list[vim.HttpNfcLease.ManifestEntry]:
        """List what went over the wire, for each disk that was transferred as a whole.

        Raises:
            vim.fault.InvalidState: the lease was never ready.
            vim.fault.Timedout: it expired.
        """
        if self.state != _State.done:
            self._check_ready()
        entries = []
        for disk in self.disks:
            if disk.transfer is None:
                continue
            done = disk.transfer
            entries.append(
                vim.HttpNfcLease.ManifestEntry(
                    key=disk.key,
                    sha1=done.sha1,
                    checksum=done.checksum,
                    checksumType=done.checksum_type,
                    size=done.size_bytes,
                    disk=True,
                    capacity=done.capacity_bytes,
                    populatedSize=done.size_bytes,
                )
            )
        return entries

    def HttpNfcLeaseSetManifestChecksumType(
        self, deviceUrlsToChecksumTypes: Sequence[vim.KeyValue] | None = None
    ) -> None:
        """Choose sha1 or sha256 for disks, by the keys of their URLs."""
        self._check_ready()
        by_key = {disk.key: disk for disk in self.disks}
        for pair in deviceUrlsToChecksumTypes or ():
            if pair.key not in by_key or pair.value not in _CHECKSUMS:
                raise invalid_argument(
                    "deviceUrlsToChecksumTypes", f"Not a disk or not a checksum: {pair.key!a}."
                )
        for pair in deviceUrlsToChecksumTypes or ():
            by_key[pair.key].checksum_type = pair.value

    def HttpNfcLeaseProgress(self, percent: int) -> None:
        """Show how far the client is, 0 to 100, and keep the lease alive.

        Raises:
            vim.fault.Timedout: it has expired.
            vim.fault.InvalidState: it is not ready.
            vmodl.fault.InvalidArgument: no percentage.
        """
        self._check_ready()
        if not 0 <= percent <= 100:
            raise invalid_argument("percent", "It must be from 0 to 100.")
        self.kernel.update(self, {"transferProgress": percent})
        self._restart_clock()

    async def HttpNfcLeaseComplete(self) -> None:
        """End the lease and keep what was made, once transfers under way are through.

        Raises:
            vim.fault.Timedout: it has expired.
            vim.fault.InvalidState: it is not ready, or a disk is still being sent.
        """
        self._check_ready()
        loop = asyncio.get_running_loop()
        patience = loop.time() + COMPLETE_PATIENCE_S
        while self._transfers:
            if loop.time() > patience and any(disk.is_on_the_wire for disk in self.disks):
                raise invalid_state("A disk is still being transferred.")
            await asyncio.wait(self._transfers, timeout=_LOOK_S)
        self._check_ready()
        self._end(_State.done, None)
        if self._finish is not None:
            self._finish()

    async def HttpNfcLeaseAbort(self, fault: vmodl.MethodFault | None = None) -> None:
        """End the lease and take back what was made for it.

        Raises:
            vim.fault.Timedout: it has expired.
            vim.fault.InvalidState: it has ended.
        """
        if self.state == _State.initializing:
            # What is being made is made first: half of it could not be taken back.
            await asyncio.gather(*self._work)
        self._check_ready()
        await self.fail(fault or vmodl.fault.RequestCanceled(msg="The lease was aborted."))

    def _check_ready(self) -> None:
        error = self.properties.get("error")
        if isinstance(error, vim.fault.Timedout):
            raise vim.fault.Timedout(msg="The lease has expired.")
        if self.state != _State.ready:
            raise invalid_state(f"The lease is not ready but {self.state}.")

    def _restart_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self.timeout_s, self._expire)

    def _expire(self) -> None:
        self._spawn(self.fail(vim.fault.Timedout(msg="The lease has expired.")))

    def _end(self, state: str, fault: vmodl.MethodFault | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.kernel.update(self, {"error": fault, "state": state})
        asyncio.get_running_loop().call_later(KEPT_S, self.kernel.remove, self)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=self.moid)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


async def end_leases(kernel: Kernel) -> None:
    """End all leases, because the lab stops."""
    for lease in kernel.registry.all(HttpNfcLease):
        if lease.state in (_State.initializing, _State.ready):
            with suppress(vmodl.MethodFault):
                await lease.HttpNfcLeaseAbort()


def find_lease(kernel: Kernel, token: str) -> HttpNfcLease | None:
    """Return the lease whose URLs hold this token, None if there is none."""
    for lease in kernel.registry.all(HttpNfcLease):
        if compare_digest(lease.token.encode(), token.encode()):
            return lease
    return None
