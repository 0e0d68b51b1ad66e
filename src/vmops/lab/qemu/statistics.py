"""What a guest uses, from QEMU and from the kernel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import DiskStatistics, GuestStatistics, NicStatistics
from vmops.lab.qemu.guest import Guest
from vmops.lab.qemu.hot_disks import peripherals
from vmops.lab.qemu.network import Segments

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SILENT = NicStatistics(received_bytes=0, sent_bytes=0, received_packets=0, sent_packets=0)


async def statistics(guest: Guest, segments: Segments) -> GuestStatistics:
    """Return the counters of now.

    QEMU counts no bytes for its network cards; their segments do.

    Raises:
        HypervisorError: the guest has just ended.
    """
    qmp = await guest.qmp()
    threads = [int(cpu["thread-id"]) for cpu in await qmp.execute("query-cpus-fast")]
    disks = {
        int(drive["qdev"].removeprefix("disk-")): DiskStatistics(
            read_bytes=drive["stats"]["rd_bytes"],
            written_bytes=drive["stats"]["wr_bytes"],
            reads=drive["stats"]["rd_operations"],
            writes=drive["stats"]["wr_operations"],
        )
        for drive in await qmp.execute("query-blockstats")
        if str(drive.get("qdev", "")).startswith("disk-")
    }
    nics = {}
    for name in await peripherals(qmp):
        if name.startswith("nic-"):
            path = f"/machine/peripheral/{name}"
            mac = await qmp.execute("qom-get", {"path": path, "property": "mac"})
            moved = (await segments.traffic()).get(str(mac).lower(), _SILENT)
            nics[int(name.removeprefix("nic-"))] = moved
    pid = guest.process.identity.pid
    cpu_time_ns, resident_bytes = await asyncio.to_thread(_process, pid, threads)
    return GuestStatistics(
        cpu_time_ns=cpu_time_ns, resident_bytes=resident_bytes, disks=disks, nics=nics
    )


def _process(pid: int, threads: Sequence[int]) -> tuple[int, int]:
    process = Path("/proc") / str(pid)
    try:
        pages = int((process / "statm").read_text().split()[1])
        # Threads of virtual processors that share one thread are named once for each.
        spent = sum(
            int((process / "task" / str(thread) / "schedstat").read_text().split()[0])
            for thread in set(threads)
        )
    except (OSError, ValueError, IndexError) as error:
        raise HypervisorError(f"the guest's process cannot be looked at: {error}") from error
    return spent, pages * _PAGE_BYTES
