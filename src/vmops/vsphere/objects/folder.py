"""A folder of virtual machines."""

from __future__ import annotations

from pyVmomi import vim

from vmops.errors import DuplicateName, ManagedObjectNotFound
from vmops.model.entity_name import escaped
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref, describe


class Folder:
    """Creates and registers virtual machines, and folders for them."""

    def __init__(self, session: Session, moref: Moref) -> None:
        self._session = session
        self.moref = moref

    def create_vm(
        self, spec: vim.vm.ConfigSpec, pool: Moref, host: Moref | None = None
    ) -> VirtualMachine:
        """Create a virtual machine from a ``ConfigSpec``.

        Raises:
            DuplicateName: the folder has one of this name.
            AlreadyExists: its .vmx file is there already.
            NoDiskSpace: the datastore is full.
        """
        moref = self._session.run_task(
            self.moref, "CreateVM_Task", config=spec, pool=pool, host=host
        )
        return VirtualMachine(self._session, moref, str(spec.instanceUuid or ""))

    def create_folder(self, name: str) -> Folder:
        """Create a folder, or return the one that is there.

        Raises:
            DuplicateName: something that is no folder has this name.
        """
        try:
            made = self._session.call(self.moref, "CreateFolder", name=escaped(name))
        except DuplicateName as taken:
            named = taken.existing
            # vcsim names the folder itself, not what is in it.
            is_told = isinstance(named, vim.Folder) and named != self.moref
            made = named if is_told else self._child(name)
            if made is None:
                raise
        return Folder(self._session, made)

    def _child(self, name: str) -> Moref | None:
        children = self._session.properties.read_one(self.moref, "childEntity").get(
            "childEntity", ()
        )
        folders = [child for child in children if describe(child).startswith("Folder:")]
        try:
            names = self._session.properties.read(folders, "Folder", ("name",))
        except ManagedObjectNotFound:
            return None
        for child in folders:
            if names.get(child._GetMoId(), {}).get("name") == name:
                found: Moref = child
                return found
        return None
