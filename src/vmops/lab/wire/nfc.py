"""``/nfc/<token>/disk-0.vmdk``: the bytes of a lease's disks.

The token in the URL is the permission, as on ESXi; nothing else is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from pyVmomi import vim

from vmops.lab.inventory.file_faults import fault_of
from vmops.lab.kernel.fault_text import message
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.nfc_lease import HttpNfcLease, LeaseDisk, Transfer, end_leases, find_lease
from vmops.lab.objects.unfinished_imports import unfinished_imports
from vmops.lab.operations.files_in_use import files_in_use
from vmops.lab.operations.nfc_disks import fill_disk, show_disk
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import CopyCancelled, StorageError
from vmops.lab.whole_files import partial_beside
from vmops.lab.wire.http_refusals import refused
from vmops.lab.wire.upload import receive, wait_for_handler

log = logging.getLogger(__name__)

_TYPE = "application/x-vnd.vmware-streamVmdk"
# Blocks, of about a MiB, that may wait to be sent: a busy machine lets each side wait in turn.
_BLOCKS_AHEAD = 8
_LOOK_S = 0.5  # how often a thread that waits for a slow client looks whether it is gone


def routes(kernel: Kernel) -> list[web.RouteDef]:
    """Return the routes of ``/nfc``; to be called on the lab's loop, with its inventory there.

    What imports left half done when the lab was killed is destroyed, and when the lab stops, its
    leases end.
    """
    handlers = _Nfc(kernel)
    kernel.on_stop(partial(end_leases, kernel))
    kernel.run_in_background(unfinished_imports(kernel).recover(), "unfinished imports")
    path = "/nfc/{token}/{file}"
    return [
        web.put(path, handlers.send, expect_handler=wait_for_handler),
        web.post(path, handlers.send, expect_handler=wait_for_handler),
        web.get(path, handlers.fetch, allow_head=False),
    ]


class _Nfc:
    """The HTTP handlers of lease disks."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._store = kernel.service(DiskStore)

    async def send(self, request: web.Request) -> web.Response:
        """Take a disk in; what is not a disk ends the lease, and the lease's end ends this."""
        lease, disk = self._find(request, "push")
        transport = request.transport
        try:
            with lease.transferring(disk):
                disk.transfer = await self._receive(request, lease, disk)
        except vim.fault.InvalidState as error:
            raise web.HTTPConflict(text=message(error)) from error
        except (StorageError, OSError) as error:
            await lease.fail(fault_of(error, str(disk.path)))
            raise refused(error) from error
        except asyncio.CancelledError:
            # Nobody waits for an answer. A close would do nothing where the other end left while
            # reading from it was paused: asyncio would keep the socket.
            if transport is not None:
                transport.abort()
            raise
        return web.Response(status=HTTPStatus.OK)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """Send a disk as a stream-optimized VMDK."""
        lease, disk = self._find(request, "pull")
        try:
            with lease.transferring(disk):
                return await self._send(request, disk)
        except vim.fault.InvalidState as error:
            raise web.HTTPConflict(text=message(error)) from error
        except (StorageError, OSError) as error:
            raise refused(error) from error

    def _find(self, request: web.Request, mode: str) -> tuple[HttpNfcLease, LeaseDisk]:
        lease = find_lease(self._kernel, request.match_info["token"])
        if lease is None:
            raise web.HTTPNotFound(text="There is no such lease.")
        if lease.state != "ready":
            raise web.HTTPConflict(text=f"The lease is not ready but {lease.state}.")
        for disk in lease.disks:
            if disk.file_name == request.match_info["file"]:
                if lease.mode != mode:
                    raise web.HTTPMethodNotAllowed(
                        request.method, ["PUT", "POST"] if lease.mode == "push" else ["GET"]
                    )
                return lease, disk
        raise web.HTTPNotFound(text="The lease has no such file.")

    async def _receive(
        self, request: web.Request, lease: HttpNfcLease, disk: LeaseDisk
    ) -> Transfer:
        volumes = self._store.volumes
        beside = disk.path.sibling(partial_beside(volumes.resolve(disk.path)).name)
        content = volumes.resolve(beside)
        files_in_use(self._kernel).check_changeable(disk.path)
        length = request.content_length or 0
        await self._kernel.blocking(volumes.require, disk.path.datastore, length)
        digests = _digests(disk)
        try:
            # An abort must not overtake the thread that makes the file, or the file would stay.
            writer = await to_its_end(
                self._kernel.blocking(
                    lambda: volumes.open_for_write(beside, atomic=False, replace=False)
                )
            )

            def write(block: bytes) -> None:
                for digest in digests.values():
                    digest.update(block)
                writer.write(block)

            try:
                size = await receive(request, write)
                disk.is_on_the_wire = False
                await self._kernel.blocking(writer.commit)
            except BaseException:
                writer.abort()
                raise
            capacity = await to_its_end(self._fill(lease, disk, content))
        finally:
            content.unlink(missing_ok=True)
        return _transfer(disk, digests, size, capacity)

    async def _fill(self, lease: HttpNfcLease, disk: LeaseDisk, content: Path) -> int:
        await self._kernel.blocking(fill_disk, self._store, disk.path, content)
        vm = self._kernel.registry.find(lease.vm, Machine)
        return await show_disk(self._kernel, vm, disk)

    async def _send(self, request: web.Request, disk: LeaseDisk) -> web.StreamResponse:
        capacity = (await self._kernel.blocking(self._store.inspect, disk.path)).capacity_bytes
        digests = _digests(disk)
        response = web.StreamResponse(headers={"Content-Type": _TYPE})
        response.enable_chunked_encoding()
        await response.prepare(request)
        blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
        room = threading.Semaphore(_BLOCKS_AHEAD)
        loop = asyncio.get_running_loop()
        stopped = threading.Event()

        def write(block: bytes) -> None:
            for digest in digests.values():
                digest.update(block)
            while not room.acquire(timeout=_LOOK_S) and not stopped.is_set():
                pass
            if stopped.is_set():
                raise CopyCancelled
            loop.call_soon_threadsafe(blocks.put_nowait, block)

        async def export() -> int:
            try:
                return await asyncio.to_thread(self._store.export_stream, disk.path, write)
            finally:
                blocks.put_nowait(None)

        exporting = asyncio.create_task(export())
        try:
            while (block := await blocks.get()) is not None:
                await response.write(block)
                room.release()
            size = await exporting
            await response.write_eof()
        except ConnectionError:
            log.debug("the client of %s is gone", disk.key)
            return response
        except BaseException:
            # The client must not take what it has for the whole.
            if request.transport is not None:
                request.transport.abort()
            raise
        finally:
            stopped.set()
            room.release()
            await asyncio.wait([exporting])
        disk.transfer = _transfer(disk, digests, size, capacity)
        return response


def _digests(disk: LeaseDisk) -> dict[str, hashlib._Hash]:
    # Both names are those of the API; SHA-1 is in every manifest.
    return {kind: hashlib.new(kind, usedforsecurity=False) for kind in ("sha1", disk.checksum_type)}


def _transfer(
    disk: LeaseDisk, digests: dict[str, hashlib._Hash], size: int, capacity: int
) -> Transfer:
    return Transfer(
        size_bytes=size,
        sha1=digests["sha1"].hexdigest(),
        checksum_type=disk.checksum_type,
        checksum=digests[disk.checksum_type].hexdigest(),
        capacity_bytes=capacity,
    )
