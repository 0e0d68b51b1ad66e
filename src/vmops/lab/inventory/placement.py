"""Where virtual machines can be: pools, hosts and datastores as a client names them."""

from __future__ import annotations

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel


def compute_resource_of(kernel: Kernel, pool: Reference | None) -> ManagedEntity:
    """Return the cluster or host whose resources a pool divides.

    Raises:
        vmodl.fault.InvalidArgument: no pool is given.
        vmodl.fault.ManagedObjectNotFound: there is no such pool.
    """
    if pool is None:
        raise invalid_argument("pool", "A resource pool is needed.")
    owner = kernel.registry.find(pool, ManagedEntity).properties["owner"]
    return kernel.registry.find(owner, ManagedEntity)


def choose_host(
    kernel: Kernel, pool: Reference | None, host: Reference | None, datastore: str
) -> HostSystem:
    """Return the host a machine goes to: the given one, or the one with the fewest machines.

    Raises:
        vmodl.fault.InvalidArgument: the host is not of the pool's compute resource.
        vim.fault.InvalidHostState: the host is in maintenance mode.
        vim.fault.NoCompatibleHost: no host can take it.
        vim.fault.InvalidDatastore: the host does not have the datastore.
    """
    compute = compute_resource_of(kernel, pool)
    of_pool = [kernel.registry.find(ref, HostSystem) for ref in compute.properties["host"]]
    if host is not None:
        given = kernel.registry.find(host, HostSystem)
        if given not in of_pool:
            raise invalid_argument("host", "It is not a host of the resource pool.")
        given.require_in_service()
        if datastore_on(kernel, given, datastore) is None:
            raise vim.fault.InvalidDatastore(
                name=datastore, msg=f"The host has no datastore '{datastore}'."
            )
        return given
    fit = [
        each
        for each in of_pool
        if each.is_in_service and datastore_on(kernel, each, datastore) is not None
    ]
    if not fit:
        raise vim.fault.NoCompatibleHost(
            msg=f"No host out of maintenance mode has the datastore '{datastore}'."
        )
    return min(fit, key=lambda each: len(each.properties["vm"]))


def datastore_on(kernel: Kernel, host: HostSystem, name: str) -> ManagedEntity | None:
    """Return a host's datastore of that name, None if it has none."""
    for ref in host.properties["datastore"]:
        datastore = kernel.registry.find(ref, ManagedEntity)
        if datastore.name == name:
            return datastore
    return None


def environment_browser_of(kernel: Kernel, pool: Reference | None) -> Reference:
    """Return the environment browser of a pool's compute resource."""
    browser: Reference = compute_resource_of(kernel, pool).properties["environmentBrowser"]
    return browser
