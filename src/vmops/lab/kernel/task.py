"""Tasks: what runs on after the method that started it has answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.sessions import current_session

log = logging.getLogger(__name__)

KEPT_FINISHED = timedelta(minutes=10)
"""How long a finished task stays readable, as in vCenter."""
KEPT_AT_MOST = 1000
"""Finished tasks kept however young they are."""

State = vim.TaskInfo.State
Run = Callable[["TaskRun"], Awaitable[object]]


class Task(ManagedObject):
    """One task, its TaskInfo changing as it runs."""

    wire_type = vim.Task
    ref: vim.Task

    def __init__(self, kernel: Kernel, moid: str, info: vim.TaskInfo) -> None:
        super().__init__(kernel, moid)
        self.properties["info"] = info
        self.cancelled = False

    def CancelTask(self) -> None:
        """Ask the task to stop; it ends with RequestCanceled when it next looks."""
        info = self.properties["info"]
        if info.state in (State.success, State.error):
            raise vim.fault.InvalidState(msg="The task has already completed")
        if not info.cancelable:
            raise vmodl.fault.NotSupported(msg="The task cannot be cancelled")
        self.cancelled = True
        self.kernel.update(self, {"info.cancelled": True})


class TaskRun:
    """What the code of a running task holds on to."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def cancelled(self) -> bool:
        """Whether a client asked for the task to stop."""
        return self.task.cancelled

    def check_cancelled(self) -> None:
        """Raise vim.fault.RequestCanceled if a client asked for the task to stop."""
        if self.task.cancelled:
            raise vmodl.fault.RequestCanceled(msg="The task was canceled by a user")

    def progress(self, percent: int) -> None:
        """Publish how far the task is, 0 to 100."""
        percent = max(0, min(100, int(percent)))
        if self.task.properties["info"].progress != percent:
            self.task.kernel.update(self.task, {"info.progress": percent})


class Tasks:
    """Every task that runs or has lately ended."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._number = 0
        self._running: dict[Task, None] = {}
        self._finished: dict[Task, datetime] = {}
        self._entity_of: dict[Task, ManagedObject] = {}
        self._of_entity: dict[str, dict[Task, None]] = {}

    def start(
        self, entity: ManagedObject, description_id: str, run: Run, *, cancelable: bool
    ) -> vim.Task:
        """See `start_task`."""
        self._forget_old()
        task = self._new_task(entity, description_id, cancelable)
        self._of_entity.setdefault(entity.moid, {})[task] = None
        self._entity_of[task] = entity
        self._kernel.add(task)
        self._running[task] = None
        self._kernel.run_in_background(self._run(task, run), task.moid)
        self._touch(entity)
        return task.ref

    def recent(self) -> list[Reference]:
        """References of the tasks that run or have lately ended, oldest first."""
        return [task.ref for task in (*self._finished, *self._running)]

    def recent_of(self, entity: ManagedObject) -> list[Reference]:
        """The same for one entity."""
        return [task.ref for task in self._of_entity.get(entity.moid, ())]

    def _new_task(self, entity: ManagedObject, description_id: str, cancelable: bool) -> Task:
        self._number += 1
        moid = self._kernel.new_moid("task")
        session = current_session.get(None)
        is_entity = issubclass(entity.wire_type, vim.ManagedEntity)
        info = vim.TaskInfo(
            key=moid,
            task=vim.Task(moid),
            descriptionId=description_id,
            name=_method(entity, description_id),
            entity=entity.ref if is_entity else None,
            entityName=entity.read("name") if is_entity else None,
            state=State.queued,
            cancelled=False,
            cancelable=cancelable,
            reason=vim.TaskReasonUser(userName=session.user if session else "vpxuser"),
            queueTime=datetime.now(UTC),
            eventChainId=self._number,
        )
        return Task(self._kernel, moid, info)

    async def _run(self, task: Task, run: Run) -> None:
        update = self._kernel.update
        # The method's answer goes out before the task's first change of state.
        await asyncio.sleep(0)
        update(task, {"info.state": State.running, "info.startTime": datetime.now(UTC)})
        end: dict[str, object] = {"info.state": State.success}
        try:
            if self._kernel.settings.task_delay_s:
                await asyncio.sleep(self._kernel.settings.task_delay_s)
            end["info.result"] = await run(TaskRun(task))
        except vmodl.MethodFault as raised:
            end = {"info.state": State.error, "info.error": raised}
        except asyncio.CancelledError:
            end = {"info.state": State.error, "info.error": vmodl.fault.RequestCanceled()}
            raise
        except Exception as error:  # a task must end in a state, whatever its code does
            log.exception("task %s %s", task.moid, task.properties["info"].descriptionId)
            reason = f"A general system error occurred: {type(error).__name__}"
            fault = vmodl.fault.SystemError(reason=reason, msg=reason)
            end = {"info.state": State.error, "info.error": fault}
        finally:
            end |= {"info.completeTime": datetime.now(UTC), "info.progress": None}
            self._end(task, end)

    def _end(self, task: Task, end: dict[str, object]) -> None:
        self._running.pop(task, None)
        self._finished[task] = datetime.now(UTC)
        self._kernel.update(task, end)
        self._touch(self._entity_of[task])

    def _touch(self, entity: ManagedObject) -> None:
        if "recentTask" in entity.computed and entity.moid in self._kernel.registry:
            self._kernel.touch(entity, "recentTask")
        for manager in self._kernel.registry.of_wire_type(vim.TaskManager):
            self._kernel.touch(manager, "recentTask")

    def _forget_old(self) -> None:
        oldest = datetime.now(UTC) - KEPT_FINISHED
        for task, ended in list(self._finished.items()):
            if ended >= oldest and len(self._finished) <= KEPT_AT_MOST:
                break
            del self._finished[task]
            entity = self._entity_of.pop(task)
            del self._of_entity[entity.moid][task]
            if not self._of_entity[entity.moid]:
                del self._of_entity[entity.moid]
            self._kernel.remove(task)


def start_task(
    entity: ManagedObject, description_id: str, run: Run, *, cancelable: bool = True
) -> vim.Task:
    """Run something in the background and return its Task's reference at once.

    `description_id` is the wire type and method, "VirtualMachine.powerOn". What `run` returns
    (None, a reference or a data object) is the result; a fault it raises is the task's error,
    and any other exception becomes vmodl.fault.SystemError.
    """
    tasks = entity.kernel.service(Tasks)
    return tasks.start(entity, description_id, run, cancelable=cancelable)


def _method(entity: ManagedObject, description_id: str) -> object:
    """The method object ``TaskInfo.name`` carries; None where the type has no such method."""
    name = description_id.rpartition(".")[2]
    return getattr(entity.wire_type, name[:1].upper() + name[1:], None)
