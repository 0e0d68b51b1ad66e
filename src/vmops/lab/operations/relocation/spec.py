"""What a RelocateSpec says about files: a datastore for each disk, and for the machine itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.machine.machine import Machine
from vmops.lab.operations.relocation.files import ALLOW_SHARING, CONSOLIDATE, MOVE_TYPES
from vmops.lab.operations.relocation.names import DiskWish
from vmops.lab.operations.relocation.target import datastore_of_host
from vmops.lab.storage.disks import DiskInfo, Provisioning

_FlatBacking = vim.vm.device.VirtualDisk.FlatVer2BackingInfo


def home_datastore(spec: vim.vm.RelocateSpec, vm: Machine, host: HostSystem) -> str:
    """Return the name of the datastore the machine's own files are to be on.

    Raises:
        vim.fault.InvalidDatastore: it is not on the host.
    """
    if spec.datastore is None:
        return vm.vmx.datastore
    return datastore_of_host(host, spec.datastore).name


def disk_wishes(
    spec: vim.vm.RelocateSpec,
    vm: Machine,
    host: HostSystem,
    chains: Mapping[int, Sequence[DiskInfo]],
) -> list[DiskWish]:
    """Return what is wanted of each disk.

    Raises:
        vmodl.fault.InvalidArgument: a locator names no disk, or a way of moving that is none.
        vim.fault.InvalidDatastore: a datastore is not on the host.
        vmodl.fault.NotSupported: a machine with snapshots is to have its chains shortened.
    """
    locators = {each.diskId: each for each in spec.disk or ()}
    for key in locators:
        if key not in chains:
            raise invalid_argument("spec.disk.diskId", f"There is no disk {key}.")
    wishes = []
    for key, chain in chains.items():
        locator = locators.get(key)
        wanted = spec.datastore if locator is None else locator.datastore
        datastore = chain[0].path.datastore
        if wanted is not None:
            datastore = datastore_of_host(host, wanted).name
        move_type = _move_type(spec, locator)
        if move_type == CONSOLIDATE and vm.properties.get("snapshot") is not None:
            raise vmodl.fault.NotSupported(msg="The machine's snapshots need its chains of disks.")
        wishes.append(
            DiskWish(
                key=key,
                chain=tuple(chain),
                datastore=datastore,
                move_type=move_type,
                provisioning=_provisioning(spec, locator),
            )
        )
    return wishes


def _move_type(spec: vim.vm.RelocateSpec, locator: vim.vm.RelocateSpec.DiskLocator | None) -> str:
    given = (locator.diskMoveType if locator is not None else None) or spec.diskMoveType
    move_type = str(given or ALLOW_SHARING)
    if move_type not in MOVE_TYPES:
        raise invalid_argument("spec.diskMoveType", f"'{move_type}' is not for relocation.")
    return move_type


def _provisioning(
    spec: vim.vm.RelocateSpec, locator: vim.vm.RelocateSpec.DiskLocator | None
) -> Provisioning | None:
    backing = None if locator is None else locator.diskBackingInfo
    if isinstance(backing, _FlatBacking):
        if backing.thinProvisioned is not None or backing.eagerlyScrub is not None:
            if backing.thinProvisioned:
                return "thin"
            return "eagerZeroedThick" if backing.eagerlyScrub else "thick"
        return None
    if spec.transform is not None:
        return "thin" if str(spec.transform) == "sparse" else "thick"
    return None
