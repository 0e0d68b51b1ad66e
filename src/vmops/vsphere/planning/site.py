"""What the planned effects of calls work with: a look at how things are by then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from vmops.errors import FileLocked, InvalidName, VMOpsError
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.planning.world import Values, World
from vmops.vsphere.session import Session
from vmops.vsphere.wire import faults
from vmops.vsphere.wire.moref import Moref

if TYPE_CHECKING:
    from pyVmomi import vmodl

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """A planning session and its world."""

    session: Session
    world: World

    def read(self, moref: Moref, *paths: str) -> Values:
        """An object's properties as they would be."""
        return self.session.properties.read_one(moref, *paths)

    def exists(self, path: DatastorePath) -> bool:
        """Whether a file or folder would be there."""
        try:
            return self.session.datastore_files.exists(path)
        except FileLocked:
            return True

    def refuse(self, fault: vmodl.MethodFault) -> NoReturn:
        """Raise what the server would."""
        raise faults.translate(fault)


Effect = Callable[[Site, Moref, Arguments], Any]


def datastore_path(text: object) -> DatastorePath | None:
    """A datastore path, None for a text that is none."""
    try:
        return DatastorePath.parse(str(text))
    except InvalidName:
        return None


def note_of(refusal: VMOpsError) -> str:
    """What is said of a call that the server would refuse."""
    return f"would be refused: {refusal}"
