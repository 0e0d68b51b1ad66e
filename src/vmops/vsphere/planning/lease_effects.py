"""What calls do to leases of imports and exports, as far as later steps can see it."""

from __future__ import annotations

from pyVmomi import vim

from vmops.vsphere.planning import machine
from vmops.vsphere.planning.machine import DEVICES
from vmops.vsphere.planning.site import Arguments, Effect, Site
from vmops.vsphere.planning.vm_effects import EFFECTS as OF_VMS
from vmops.vsphere.wire.moref import Moref, moid

_LEASE_S = 300


def _import(site: Site, pool: Moref, arguments: Arguments) -> Moref:
    asked = {"config": arguments["spec"].configSpec, "pool": pool, "host": arguments.get("host")}
    vm = OF_VMS["CreateVM_Task"](site, arguments["folder"], asked)
    return _lease(site, vm)


def _export(site: Site, source: Moref, arguments: Arguments) -> Moref:
    site.world.plan.note(
        "Where the endpoint refuses ExportSnapshot, the disk is copied instead and its file read."
    )
    return _lease(site, site.read(source, "vm")["vm"])


def _lease(site: Site, vm: Moref) -> Moref:
    """A lease that is ready, with a place for each disk of the VM."""
    devices = site.read(vm, DEVICES).get(DEVICES) or ()
    lease = site.world.new(vim.HttpNfcLease)
    controllers = {int(d.key): d for d in devices}
    urls = [
        vim.HttpNfcLease.DeviceUrl(
            key=_key(vm, disk, controllers.get(int(disk.controllerKey or 0))),
            importKey=machine.file_of(disk),
            url=f"https://*/nfc/{moid(lease)}/disk-{number}.vmdk",
            sslThumbprint="",
            disk=True,
            targetId=f"disk-{number}.vmdk",
            datastoreKey="",
            fileSize=0,
        )
        for number, disk in enumerate(machine.disks_of(devices))
    ]
    site.world.change(
        lease,
        {
            "state": "ready",
            "info.deviceUrl": urls,
            "info.leaseTimeout": _LEASE_S,
            "info.entity": vm,
        },
    )
    return lease


def _key(
    vm: Moref, disk: vim.vm.device.VirtualDisk, controller: vim.vm.device.VirtualDevice | None
) -> str:
    """As vSphere names a disk in a lease: "/vm-12/VirtualIDEController0:0"."""
    kind = type(controller)._wsdlName if controller is not None else ""
    bus = getattr(controller, "busNumber", 0)
    return f"/{moid(vm)}/{kind}{bus}:{disk.unitNumber or 0}"


def _end(site: Site, lease: Moref, arguments: Arguments) -> None:
    site.world.change(lease, {"state": "done"})


EFFECTS: dict[str, Effect] = {
    "ImportVApp": _import,
    "ExportSnapshot": _export,
    "HttpNfcLeaseComplete": _end,
    "HttpNfcLeaseAbort": _end,
}
