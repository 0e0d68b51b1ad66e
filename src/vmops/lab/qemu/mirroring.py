"""Moving a running guest's disk to other files."""

from __future__ import annotations

import asyncio

from vmops.lab.hypervisor.port import DiskLayer, Progress
from vmops.lab.qemu.block_jobs import run_block_job
from vmops.lab.qemu.block_nodes import add_chain, sweep, top_node
from vmops.lab.qemu.guest import Guest


async def mirror_disk(
    guest: Guest, disk_key: int, target: tuple[DiskLayer, ...], progress: Progress | None
) -> None:
    """Copy what the guest has and what it writes meanwhile, switch over, and close the old files.

    Raises:
        HypervisorError: there is no such disk, the target is unusable or of another size, or has
            no room; the guest goes on with the files it had.
    """
    with guest.doing("having a disk moved"):
        qmp = await guest.qmp()
        source = await top_node(qmp, disk_key)
        node = await add_chain(qmp, disk_key, target)
        arguments = {
            "job-id": f"mirror-{disk_key}",
            "device": source,
            "target": node,
            "sync": "full" if len(target) == 1 else "top",
            # The guest's own writes go to both, so that it cannot outrun the copying.
            "copy-mode": "write-blocking",
        }
        try:
            await run_block_job(guest, "blockdev-mirror", arguments, progress)
        finally:
            await asyncio.shield(sweep(qmp, disk_key))
