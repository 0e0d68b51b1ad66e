"""OvfManager: descriptors read for an import, and written for an export."""

from __future__ import annotations

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.objects.ovf.descriptor import create_descriptor
from vmops.lab.objects.ovf.envelope import OvfProperty, read_envelope
from vmops.lab.objects.ovf.importing import (
    PROVISIONING,
    check_host,
    create_import_spec,
    deployment_sizes,
)


class OvfManager(ManagedObject):
    """Reads and writes OVF descriptors; the bytes of disks go over leases.

    What is wrong with a descriptor is not raised but stands in the ``error`` of the result, as on
    vSphere.
    """

    wire_type = vim.OvfManager

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self.properties.update(ovfImportOption=[], ovfExportOption=[])

    def ParseDescriptor(
        self, ovfDescriptor: str, pdp: vim.OvfManager.ParseDescriptorParams
    ) -> vim.OvfManager.ParseDescriptorResult:
        """Say what a descriptor asks of a user."""
        result = vim.OvfManager.ParseDescriptorResult
        try:
            envelope = read_envelope(ovfDescriptor, pdp.deploymentOption or "")
        except vim.fault.OvfFault as fault:
            return result(virtualApp=False, defaultEntityName="", error=[fault])
        download, flat, sparse = deployment_sizes(envelope)
        product = envelope.product
        return result(
            eula=list(envelope.eulas),
            network=[
                vim.OvfManager.NetworkInfo(name=name, description=description)
                for name, description in envelope.networks.items()
            ],
            property=[_property(key, each) for key, each in enumerate(envelope.properties)],
            productInfo=vim.vApp.ProductInfo(
                key=0,
                name=product.name,
                vendor=product.vendor,
                version=product.version,
                fullVersion=product.full_version,
            ),
            annotation=envelope.annotation,
            approximateDownloadSize=download,
            approximateFlatDeploymentSize=flat,
            approximateSparseDeploymentSize=sparse,
            defaultEntityName=envelope.name,
            virtualApp=envelope.is_collection,
            deploymentOption=[
                vim.OvfManager.DeploymentOption(key=key, label=label, description=description)
                for key, (label, description) in envelope.options.items()
            ],
            defaultDeploymentOption=next(iter(envelope.options), ""),
        )

    def ValidateHost(
        self, ovfDescriptor: str, host: Reference, vhp: vim.OvfManager.ValidateHostParams
    ) -> vim.OvfManager.ValidateHostResult:
        """Say whether a host takes a descriptor's machine: all hosts take what can be read."""
        check_host(self.kernel, host)
        result = vim.OvfManager.ValidateHostResult
        try:
            envelope = read_envelope(ovfDescriptor, vhp.deploymentOption or "")
        except vim.fault.OvfFault as fault:
            return result(error=[fault])
        download, flat, sparse = deployment_sizes(envelope)
        return result(
            downloadSize=download,
            flatDeploymentSize=flat,
            sparseDeploymentSize=sparse,
            supportedDiskProvisioning=list(PROVISIONING),
        )

    def CreateImportSpec(
        self,
        ovfDescriptor: str,
        resourcePool: Reference,
        datastore: Reference,
        cisp: vim.OvfManager.CreateImportSpecParams,
    ) -> vim.OvfManager.CreateImportSpecResult:
        """Turn a descriptor into a spec for ImportVApp; see `create_import_spec`."""
        return create_import_spec(self.kernel, ovfDescriptor, resourcePool, datastore, cisp)

    def CreateDescriptor(
        self, obj: Reference, cdp: vim.OvfManager.CreateDescriptorParams
    ) -> vim.OvfManager.CreateDescriptorResult:
        """Write the descriptor of a machine or a snapshot; see `create_descriptor`."""
        return create_descriptor(self.kernel, obj, cdp)


def _property(key: int, said: OvfProperty) -> vim.vApp.PropertyInfo:
    return vim.vApp.PropertyInfo(
        key=key,
        classId=said.class_id,
        instanceId=said.instance_id,
        id=said.key,
        label=said.label,
        description=said.description,
        type=said.type,
        userConfigurable=said.user_configurable,
        defaultValue=said.value,
    )
