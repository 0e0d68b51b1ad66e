"""The instances of a name, found by the server: what it costs does not grow with what exists."""

from __future__ import annotations

from collections.abc import Iterator

from vmops.model.entity_name import plain
from vmops.ops.instances.listing import IDENTITY_PATHS, identity_of
from vmops.vsphere.objects.lookup import find_unreadable, find_vm_on_server
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref, wire_type

_MACHINE = "VirtualMachine"


def uuids_called(session: Session, name: str) -> list[str]:
    """The UUIDs of all instances of this name, also of those that are out of reach.

    One look-up for each folder that machines can be in, and one read of what was found. A machine
    in a vApp is in no folder: it is found by its UUID alone.
    """
    # Other tools show names, and take them, as vSphere keeps them: "a%2fb".
    for asked in dict.fromkeys((name, plain(name))):
        found = list(_machines_called(session, asked))
        told = session.properties.read(found, _MACHINE, IDENTITY_PATHS) if found else {}
        # Some servers find names without regard to case.
        uuids = {identity_of(each) for each in told.values() if each.get("name") == asked}
        if uuids - {""}:
            return sorted(uuids - {""})
    return []


def is_there(session: Session, instance_uuid: str) -> bool:
    """Whether there is an instance of this UUID, be it a template or out of reach."""
    vm = find_vm_on_server(session, instance_uuid) or find_unreadable(session, instance_uuid)
    if vm is None:
        return False
    told = session.properties.read([vm.moref], _MACHINE, IDENTITY_PATHS)
    return any(identity_of(each).lower() == instance_uuid.lower() for each in told.values())


def _machines_called(session: Session, name: str) -> Iterator[Moref]:
    for folder in session.properties.read_container("Folder", ("childType",)).values():
        if _MACHINE in folder.get("childType", ()):
            found = session.search_index.child(folder[""], name)
            if isinstance(found, wire_type(_MACHINE)):
                yield found
