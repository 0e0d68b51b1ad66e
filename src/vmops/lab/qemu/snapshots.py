"""Layers of a running guest's disks: new ones on top, and old ones merged away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import DiskLayer, Progress
from vmops.lab.qemu.argv.disks import layer_node
from vmops.lab.qemu.block_jobs import run_block_job
from vmops.lab.qemu.block_nodes import add_nodes, free_names, nodes_by_file, sweep, top_node
from vmops.lab.qemu.guest import Guest
from vmops.lab.qemu.layer_check import check_layer
from vmops.lab.qemu.qmp import Qmp


async def snapshot_disks(
    guest: Guest, tops: Mapping[int, DiskLayer], memory: Path | None = None
) -> None:
    """Let the guest write to new layers from one moment on, whose memory may be saved.

    Raises:
        HypervisorError: a layer is refused, or the memory cannot be written; the guest goes on
            with the layers it had, and the memory's file is gone.
    """
    with guest.doing("being snapshotted"):
        qmp = await guest.qmp()
        for layer in tops.values():
            await asyncio.to_thread(check_layer, layer)
        switches = []
        try:
            for disk_key, layer in tops.items():
                old = await top_node(qmp, disk_key)
                (new,) = await free_names(qmp, disk_key, 1)
                await add_nodes(qmp, [layer_node(layer, new, None, read_only=False)])
                switches.append({"node": old, "overlay": new})
            if memory is None:
                await _switch(qmp, switches)
            else:
                await _switch_and_save(guest, switches, memory)
        except BaseException:
            await asyncio.shield(_take_back(guest, tops, switches))
            raise


async def collapse(
    guest: Guest, disk_key: int, top: Path, into: Path, progress: Progress | None
) -> None:
    """Merge layers down into one under them, and close them.

    Raises:
        HypervisorError: the disk has no such layers, or others have the lower one open, or the
            data cannot be written; the chain is as it was.
    """
    with guest.doing("having a disk consolidated"):
        qmp = await guest.qmp()
        nodes = await nodes_by_file(qmp, disk_key)
        for file in (top, into):
            if file not in nodes:
                raise HypervisorError(f"{file.name} is not a layer of the guest's disk {disk_key}")
        await _commit(guest, disk_key, nodes[top], nodes[into], progress)


async def _commit(
    guest: Guest, disk_key: int, top: str, into: str, progress: Progress | None
) -> None:
    qmp = await guest.qmp()
    active = await top_node(qmp, disk_key)
    arguments: dict[str, object] = {
        "job-id": f"commit-{disk_key}",
        "device": active,
        "top-node": top,
        "base-node": into,
    }
    if top != active:
        # The name of the new backing file would be written to the header of the layer above.
        arguments["backing-file"] = ""
    await run_block_job(guest, "block-commit", arguments, progress)
    await sweep(qmp, disk_key)


async def _switch(qmp: Qmp, switches: list[dict[str, str]]) -> None:
    actions = [{"type": "blockdev-snapshot", "data": switch} for switch in switches]
    if actions:
        await qmp.execute("transaction", {"actions": actions})


async def _switch_and_save(guest: Guest, switches: list[dict[str, str]], memory: Path) -> None:
    # In this order, for writing the memory takes the disks out of QEMU's hands until the guest
    # goes on.
    await guest.save_memory(memory, lambda qmp: _switch(qmp, switches))


async def _take_back(
    guest: Guest, tops: Mapping[int, DiskLayer], switches: list[dict[str, str]]
) -> None:
    """Put the disks back on their old layers, with what was written to the new ones since."""
    qmp = await guest.qmp()
    for disk_key, switch in zip(tops, switches, strict=False):
        if await top_node(qmp, disk_key) == switch["overlay"]:
            await _commit(guest, disk_key, switch["overlay"], switch["node"], None)
        await sweep(qmp, disk_key)
