"""The nodes of a running guest's disks: which there are, under which names, and how they go.

Nothing is remembered here, for guests outlive the lab: a disk's nodes are those whose names begin
with its prefix, a layer's node is found by the layer's file, and what is in use QEMU knows best.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import DiskLayer
from vmops.lab.qemu.argv.disks import FILE_NODE_SUFFIX, chain_nodes, node_prefix
from vmops.lab.qemu.layer_check import check_layer
from vmops.lab.qemu.qmp import Qmp, QmpRefused


async def top_node(qmp: Qmp, disk_key: int) -> str:
    """Return the node the guest writes to.

    Raises:
        HypervisorError: the guest has no such disk.
    """
    for drive in await qmp.execute("query-block"):
        if drive.get("qdev") == f"disk-{disk_key}" and "inserted" in drive:
            return str(drive["inserted"]["node-name"])
    raise HypervisorError(f"the running guest has no disk {disk_key}")


async def nodes_by_file(qmp: Qmp, disk_key: int) -> Mapping[Path, str]:
    """Return the name of each layer's node by the layer's file."""
    prefix = node_prefix(disk_key)
    return {
        Path(node["file"]): name.removesuffix(FILE_NODE_SUFFIX)
        for node in await qmp.execute("query-named-block-nodes", {"flat": True})
        if (name := str(node["node-name"])).startswith(prefix) and name.endswith(FILE_NODE_SUFFIX)
    }


async def free_names(qmp: Qmp, disk_key: int, count: int) -> list[str]:
    """Return names that no node of the disk has yet."""
    prefix = node_prefix(disk_key)
    names = (await nodes_by_file(qmp, disk_key)).values()
    first = 1 + max((int(name.removeprefix(prefix)) for name in names), default=-1)
    return [f"{prefix}{number}" for number in range(first, first + count)]


async def add_chain(
    qmp: Qmp, disk_key: int, layers: Sequence[DiskLayer], *, read_only: bool = False
) -> str:
    """Open a chain of files as nodes of a disk and return the top one's name; none on failure.

    Raises:
        HypervisorError: a file is missing, refused, or in use.
    """
    for layer in layers:
        await asyncio.to_thread(check_layer, layer)
    names = await free_names(qmp, disk_key, len(layers))
    await add_nodes(qmp, chain_nodes(layers, names, read_only=read_only))
    return names[0]


async def add_nodes(qmp: Qmp, nodes: Sequence[Mapping[str, object]]) -> None:
    """Add nodes, each after those under it; none on failure.

    Raises:
        HypervisorError: a file cannot be opened, or is in use.
    """
    added: list[str] = []
    try:
        for node in nodes:
            await qmp.execute("blockdev-add", node)
            added.append(str(node["node-name"]))
    except BaseException:
        for name in reversed(added):
            await qmp.execute("blockdev-del", {"node-name": name})
        raise


async def sweep(qmp: Qmp, disk_key: int) -> None:
    """Close those of a disk's files that nothing uses: no device, no job, no layer above.

    Raises:
        QmpClosed: the guest has ended.
    """
    left = list((await nodes_by_file(qmp, disk_key)).values())
    while left:
        kept = []
        for name in left:
            try:
                await qmp.execute("blockdev-del", {"node-name": name})
            except QmpRefused:  # in use, maybe only by one that goes in this very round
                kept.append(name)
        if len(kept) == len(left):
            return
        left = kept
