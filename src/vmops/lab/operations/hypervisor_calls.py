"""Calls of the hypervisor in tasks: its errors are faults, and a cancelled task stops them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pyVmomi import vim

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.kernel.task import TaskRun

T = TypeVar("T")
_LOOK_FOR_CANCEL_S = 0.1


@contextmanager
def hypervisor_faults() -> Iterator[None]:
    """Raise what a hypervisor says in the block as vim.fault.GenericVmConfigFault."""
    try:
        yield
    except HypervisorError as error:
        text = str(error)
        raise vim.fault.GenericVmConfigFault(reason=text, msg=text) from error


async def cancellable(work: Awaitable[T], run: TaskRun) -> T:
    """Await something; stop it, and wait until it has stopped, when a client cancels the task.

    What is done all the same, for it could not be stopped any more, counts as done.

    Raises:
        vmodl.fault.RequestCanceled: it was stopped.
    """
    running = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait([running], timeout=_LOOK_FOR_CANCEL_S))[0]:
            if run.cancelled:
                break
        if running.done():
            return running.result()
    except asyncio.CancelledError:
        await _stopped(running)
        raise
    await _stopped(running)
    if running.cancelled() or running.exception() is not None:
        run.check_cancelled()
    return running.result()


async def _stopped(running: asyncio.Future[T]) -> None:
    running.cancel()
    await asyncio.wait([running])
