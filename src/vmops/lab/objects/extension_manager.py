"""Extensions: who manages virtual machines through this vCenter. A single ESXi has none."""

from __future__ import annotations

import copy
from datetime import UTC

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.kernel.kernel import Kernel, ManagedObject


class ExtensionManager(ManagedObject):
    """Keeps the extensions that clients register; they last until the lab stops."""

    wire_type = vim.ExtensionManager

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self.properties["extensionList"] = []

    def FindExtension(self, extensionKey: str) -> vim.Extension | None:
        """Return the extension of a key, nothing if there is none."""
        return self._by_key().get(extensionKey)

    def RegisterExtension(self, extension: vim.Extension) -> None:
        """Add an extension.

        Raises:
            vmodl.fault.InvalidArgument: its key is empty or taken.
        """
        extensions = self._by_key()
        if not extension.key.strip():
            raise invalid_argument("extension.key", "It is empty.")
        if extension.key in extensions:
            raise invalid_argument("extension.key", "An extension of this key is registered.")
        self._keep({**extensions, extension.key: extension})

    def UpdateExtension(self, extension: vim.Extension) -> None:
        """Put an extension in the place of the one of its key.

        Raises:
            vim.fault.NotFound: there is none.
        """
        extensions = self._by_key()
        if extension.key not in extensions:
            raise _not_found(extension.key)
        self._keep({**extensions, extension.key: extension})

    def UnregisterExtension(self, extensionKey: str) -> None:
        """Remove an extension.

        Raises:
            vim.fault.NotFound: there is none of this key.
        """
        extensions = self._by_key()
        if extensionKey not in extensions:
            raise _not_found(extensionKey)
        del extensions[extensionKey]
        self._keep(extensions)

    def _by_key(self) -> dict[str, vim.Extension]:
        return {each.key: each for each in self.properties["extensionList"]}

    def _keep(self, extensions: dict[str, vim.Extension]) -> None:
        self.kernel.update(self, {"extensionList": [_in_utc(each) for each in extensions.values()]})


def _in_utc(extension: vim.Extension) -> vim.Extension:
    """Give the heartbeat's time a zone: OpenStack sends UTC without saying so."""
    if extension.lastHeartbeatTime.tzinfo is not None:
        return extension
    extension = copy.copy(extension)
    extension.lastHeartbeatTime = extension.lastHeartbeatTime.replace(tzinfo=UTC)
    return extension


def _not_found(key: str) -> Exception:
    fault: Exception = vim.fault.NotFound(msg=f"There is no extension '{key}'.")
    return fault
