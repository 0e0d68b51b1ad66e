"""The snapshots of a machine that moves: their disks and configurations move with it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vmops.lab.machine.config import files_info
from vmops.lab.machine.devices.parts import with_file
from vmops.lab.machine.snapshot_tree import SnapshotTree
from vmops.lab.machine.snapshots.disks import config_with_chains
from vmops.lab.machine.snapshots.list_file import data_file, memory_file
from vmops.lab.machine.vmx_file import write_vmx

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo

    from vmops.lab.storage.disks import DiskInfo
    from vmops.lab.storage.paths import DatastorePath
    from vmops.lab.storage.volumes import Volumes


def moved_tree(
    tree: SnapshotTree,
    home: DatastorePath,
    chains: Mapping[DatastorePath, Sequence[DiskInfo]],
    renamed: Mapping[str, str],
) -> SnapshotTree:
    """Return the snapshots as they are where the machine's .vmx file is ``home``.

    ``chains`` gives what is now in the place of each disk that moved, ``renamed`` the new names of
    other files.
    """
    return SnapshotTree(
        tuple(
            replace(
                each,
                config=_moved(each.config, home, chains, renamed),
                data=data_file(home, each.uid),
                memory=None if each.memory is None else memory_file(home, each.uid),
            )
            for each in tree.snapshots
        ),
        tree.current,
        tree.last_uid,
    )


def _moved(
    config: ConfigInfo,
    home: DatastorePath,
    chains: Mapping[DatastorePath, Sequence[DiskInfo]],
    renamed: Mapping[str, str],
) -> ConfigInfo:
    moved = config_with_chains(config, chains)
    moved.files = files_info(home)
    devices = moved.hardware.device
    for index, device in enumerate(devices):
        name = renamed.get(getattr(device.backing, "fileName", None) or "")
        if name is not None:
            devices[index] = copy.copy(device)
            devices[index].backing = with_file(device, name)
    return moved


def write_snapshots(volumes: Volumes, tree: SnapshotTree) -> None:
    """Write the .vmsn file of every snapshot. Blocking.

    Raises:
        OSError: one cannot be written; those before it are.
    """
    for each in tree.snapshots:
        write_vmx(volumes, each.data, each.config)
