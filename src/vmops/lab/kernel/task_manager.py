"""The task manager: which tasks run or have lately ended."""

from __future__ import annotations

from pyVmomi import vim

from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.task import Tasks


class TaskManager(ManagedObject):
    """Lists recent tasks."""

    wire_type = vim.TaskManager

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self.properties["maxCollector"] = 1
        self.computed["recentTask"] = kernel.service(Tasks).recent
