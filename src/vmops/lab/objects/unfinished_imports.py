"""Virtual machines of which only a lease says that they may stay.

They are noted in the state folder, so that a lab that was killed destroys them at its next start.
"""

from __future__ import annotations

import json
import logging

from pyVmomi import vmodl

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.operations.destroy import destroy
from vmops.lab.whole_files import write_whole

log = logging.getLogger(__name__)


class UnfinishedImports:
    """The note: managed object ids, each with the path of its .vmx file."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._file = kernel.settings.state_dir / "imports.json"
        self._paths: dict[str, str] = {}

    def add(self, vm: Machine) -> None:
        """Note a machine."""
        self._paths[vm.moid] = vm.vmx_path
        self._save()

    def remove(self, vm: Machine) -> None:
        """Forget a machine: it is gone, or is to stay."""
        if self._paths.pop(vm.moid, None) is not None:
            self._save()

    async def recover(self) -> None:
        """Destroy what an earlier run of the lab left; what cannot be destroyed stays, noted."""
        try:
            left = json.loads(self._file.read_text())
        except FileNotFoundError:
            return
        except ValueError:
            log.warning("%s is damaged and not used", self._file)
            return
        for vm in self._kernel.registry.all(Machine):
            if left.get(vm.moid) == vm.vmx_path:
                try:
                    await destroy(vm)
                except vmodl.MethodFault:
                    log.exception("the unfinished import '%s' stays", vm.name)
                    self._paths[vm.moid] = vm.vmx_path
        self._save()

    def _save(self) -> None:
        if self._paths:
            write_whole(self._file, json.dumps(self._paths))
        else:
            self._file.unlink(missing_ok=True)


def unfinished_imports(kernel: Kernel) -> UnfinishedImports:
    """Return the lab's one note, making it when it is first asked for."""
    try:
        return kernel.service(UnfinishedImports)
    except KeyError:
        kernel.provide(UnfinishedImports(kernel))
        return kernel.service(UnfinishedImports)
