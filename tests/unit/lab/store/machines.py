"""Virtual machines for tests that need one."""

from contextlib import contextmanager

from pyVmomi import vim


def place(client):
    """The folder and the resource pool of new machines."""
    [datacenter] = client.content.rootFolder.childEntity
    return datacenter.vmFolder, datacenter.hostFolder.childEntity[0].resourcePool


def config_spec(client, name, *, disk_mib=None, thin=True):
    """The ConfigSpec of a machine in a folder of its own name, with a disk if it is to have one."""
    changes = []
    if disk_mib is not None:
        controller = vim.vm.device.ParaVirtualSCSIController(
            key=-1, busNumber=0, sharedBus="noSharing"
        )
        disk = vim.vm.device.VirtualDisk(
            key=-2,
            controllerKey=-1,
            unitNumber=0,
            capacityInKB=disk_mib * 1024,
            backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                fileName="", diskMode="persistent", thinProvisioned=thin
            ),
        )
        spec = vim.vm.device.VirtualDeviceSpec
        changes = [
            spec(operation="add", device=controller),
            spec(operation="add", fileOperation="create", device=disk),
        ]
    return vim.vm.ConfigSpec(
        name=name,
        numCPUs=1,
        memoryMB=32,
        guestId="otherLinux64Guest",
        files=vim.vm.FileInfo(vmPathName=f"[{client.datastore}]"),
        deviceChange=changes,
    )


@contextmanager
def virtual_machine(client, name, *, disk_mib=None):
    """A machine that is gone afterwards."""
    folder, pool = place(client)
    spec = config_spec(client, f"vm-{name}", disk_mib=disk_mib)
    vm = client.result(folder.CreateVM_Task(spec, pool))
    try:
        yield vm
    finally:
        if vm.runtime.powerState == "poweredOn":
            client.result(vm.PowerOffVM_Task())
        client.result(vm.Destroy_Task())
