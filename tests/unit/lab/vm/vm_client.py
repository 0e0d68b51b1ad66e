"""A pyVmomi session with a lab, and ConfigSpecs for it."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pyVmomi import SoapStubAdapter, vim

from vmops.lab import Lab

device = vim.vm.device


@dataclass
class VmClient:
    lab: Lab
    stub: Any
    content: Any

    @property
    def datacenter(self):
        [datacenter] = self.content.rootFolder.childEntity
        return datacenter

    @property
    def folder(self):
        return self.datacenter.vmFolder

    @property
    def compute(self):
        [compute] = self.datacenter.hostFolder.childEntity
        return compute

    @property
    def pool(self):
        return self.compute.resourcePool

    def network(self, name):
        return next(each for each in self.datacenter.network if each.name == name)

    def result(self, task):
        """Wait for a task; its error is raised."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            info = task.info
            if info.state == "success":
                return info.result
            if info.state == "error":
                raise info.error
            time.sleep(0.005)
        raise TimeoutError(f"{task} is still {info.state}")

    def create(
        self, name, *changes, folder=None, pool=None, host=None, path="[datastore1]", **spec
    ):
        config = config_spec(name, *changes, path=path, **spec)
        folder = folder or self.folder
        return self.result(folder.CreateVM_Task(config, pool or self.pool, host))

    def reconfigure(self, vm, *changes, **spec):
        wanted = vim.vm.ConfigSpec(deviceChange=list(changes), **spec)
        return self.result(vm.ReconfigVM_Task(wanted))

    def register(self, path, name=None, *, as_template=False, pool=None, host=None):
        pool = None if as_template else pool or self.pool
        return self.result(self.folder.RegisterVM_Task(path, name, as_template, pool, host))

    def file(self, path):
        """The host's path of ``[datastore1] a/b``."""
        datastore, _, rest = path.removeprefix("[").partition("] ")
        return self.lab.datastore_root(datastore) / rest

    def close(self):
        self.content.sessionManager.Logout()
        self.stub.DropConnections()


def connect(lab: Lab) -> VmClient:
    url = urlsplit(lab.url)
    context = ssl.create_default_context(cafile=str(lab.certificate_file))
    context.check_hostname = False
    stub = SoapStubAdapter(
        host=url.hostname, port=url.port, version="vim.version.v8_0_3_0", sslContext=context
    )
    content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    content.sessionManager.Login(lab.username, lab.password)
    return VmClient(lab, stub, content)


def config_spec(name, *changes, path="[datastore1]", **fields):
    fields = {"memoryMB": 64, "numCPUs": 1, "guestId": "otherLinux64Guest", **fields}
    return vim.vm.ConfigSpec(
        name=name,
        files=vim.vm.FileInfo(vmPathName=path),
        deviceChange=list(changes),
        **fields,
    )


def change(operation, of, file_operation=None):
    return device.VirtualDeviceSpec(operation=operation, fileOperation=file_operation, device=of)


def add(of, file_operation=None):
    return change("add", of, file_operation)


def scsi(key=-1, bus=None, model=device.ParaVirtualSCSIController):
    return add(model(key=key, busNumber=bus or 0, sharedBus="noSharing"))


def disk(mib=4, *, controller=-1, unit=None, name="", parent=None, key=-2, **backing):
    flat = device.VirtualDisk.FlatVer2BackingInfo
    return device.VirtualDisk(
        key=key,
        controllerKey=controller,
        unitNumber=unit,
        capacityInKB=mib * 1024,
        backing=flat(
            fileName=name,
            parent=None if parent is None else flat(fileName=parent, diskMode="persistent"),
            **{"thinProvisioned": True, "diskMode": "persistent", **backing},
        ),
    )


def new_disk(mib=4, **where):
    return add(disk(mib, **where), "create")


def standard_nic(name="VM Network", *, key=-10, model=device.VirtualVmxnet3, **fields):
    backing = device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name)
    return add(model(key=key, backing=backing, **fields))


def distributed_nic(group, *, key=-11, port=None, **fields):
    connection = vim.dvs.PortConnection(
        switchUuid=group.config.distributedVirtualSwitch.uuid,
        portgroupKey=group.key,
        portKey=port,
    )
    backing = device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
    return add(device.VirtualE1000(key=key, backing=backing, **fields))


def of_type(vm, wire_type):
    return [each for each in vm.config.hardware.device if isinstance(each, wire_type)]


def extra(**options):
    return [vim.option.OptionValue(key=key, value=value) for key, value in options.items()]
