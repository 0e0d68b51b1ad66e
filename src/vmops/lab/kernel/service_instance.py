"""The service instance: the door by which a client finds all managers."""

from __future__ import annotations

from datetime import UTC, datetime

from pyVmomi import vim
from pyVmomi.VmomiSupport import IsChildVersion
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.kernel import Kernel, ManagedObject

API_VERSION = "8.0.3.0"
WIRE_VERSION = "vim.version.v8_0_3_0"
"""pyVmomi's name of the API version."""
PRODUCT_VERSION = "8.0.3"


_FORMS: dict[type, tuple[type, ...]] = {
    vim.vslm.VStorageObjectManagerBase: (
        vim.vslm.vcenter.VStorageObjectManager,
        vim.vslm.host.VStorageObjectManager,
    )
}
"""Managers that are of another type on a vCenter than on a host."""


class ServiceInstance(ManagedObject):
    """Tells what the service is and which managers it has."""

    wire_type = vim.ServiceInstance

    def __init__(self, kernel: Kernel, moid: str, instance_uuid: str) -> None:
        super().__init__(kernel, moid)
        esx = kernel.settings.esx
        self._about = _about_esx() if esx else _about_vcenter(instance_uuid)
        self.properties["capability"] = vim.Capability(
            provisioningSupported=True, multiHostSupported=not esx, userShellAccessSupported=False
        )
        self.computed |= {"content": self.RetrieveServiceContent, "serverClock": self.CurrentTime}

    def CurrentTime(self) -> datetime:
        """The server's clock."""
        return datetime.now(UTC)

    def RetrieveServiceContent(self) -> vim.ServiceInstanceContent:
        """References of all managers that there are; others stay unset."""
        content = vim.ServiceInstanceContent(about=self._about)
        for info in content._GetPropertyList():
            if issubclass(info.type, Reference) and IsChildVersion(WIRE_VERSION, info.version):
                found = self._root_folder() if info.name == "rootFolder" else self._one(info.type)
                if found is not None:
                    setattr(content, info.name, found)
        return content

    def _one(self, wire_type: type) -> Reference | None:
        for each in _FORMS.get(wire_type, (wire_type,)):
            found = self.kernel.registry.of_wire_type(each)
            for obj in found:
                if obj.owner is None:
                    return obj.ref
        return None

    def _root_folder(self) -> Reference | None:
        folders = self.kernel.registry.of_wire_type(vim.Folder)
        return next((obj.ref for obj in folders if obj.read("parent") is None), None)


def _about_vcenter(instance_uuid: str) -> vim.AboutInfo:
    return _about(
        "VMware vCenter Server",
        osType="linux-x64",
        productLineId="vpx",
        apiType="VirtualCenter",
        instanceUuid=instance_uuid,
        licenseProductName="VMware VirtualCenter Server",
    )


def _about_esx() -> vim.AboutInfo:
    return _about(
        "VMware ESXi",
        osType="vmnix-x86",
        productLineId="embeddedEsx",
        apiType="HostAgent",
        licenseProductName="VMware ESX Server",
    )


def _about(name: str, **fields: str) -> vim.AboutInfo:
    return vim.AboutInfo(
        name=name,
        fullName=f"{name} {PRODUCT_VERSION} build-0 (vmops lab)",
        vendor="VMware, Inc.",
        version=PRODUCT_VERSION,
        build="0",
        localeVersion="INTL",
        localeBuild="000",
        apiVersion=API_VERSION,
        licenseProductVersion="8.0",
        **fields,
    )
