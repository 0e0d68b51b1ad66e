"""Waiting for QEMU's block jobs: a commit or a mirror, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Progress
from vmops.lab.qemu.guest import Guest
from vmops.lab.qemu.qmp import Message, Qmp, QmpRefused

log = logging.getLogger(__name__)

_SHORTEST_POLL_S, _LONGEST_POLL_S = 0.01, 0.2


async def run_block_job(
    guest: Guest, command: str, arguments: Mapping[str, object], progress: Progress | None
) -> None:
    """Start a job and return when it is done; its ``job-id`` is among the arguments.

    A job that ends in a switch of nodes is told to switch as soon as it can, with the guest
    standing still. On failure, and if this is cancelled, the job has ended without effect before
    this raises; a cancellation that comes during the switch is too late and is not heeded.

    Raises:
        HypervisorError: QEMU refused the job, or it failed; the text has QEMU's reason.
    """
    qmp = await guest.qmp()
    job = str(arguments["job-id"])
    end: Message | None
    try:
        await qmp.execute(command, {**arguments, "auto-dismiss": False})
        state = await _until(qmp, job, ("ready", "concluded"), progress)
    except BaseException:
        end = await asyncio.shield(_abandon(guest, qmp, job))
        if end is None or "error" in end:
            raise
    else:
        end = await _to_its_end(_conclude(guest, qmp, job, state))
    if "error" in end:
        raise HypervisorError(f"the disk's data cannot be copied: {end['error']}")
    if progress is not None:
        progress(100)


async def _conclude(guest: Guest, qmp: Qmp, job: str, state: Message) -> Message:
    """Switch nodes if the job is ready to, and return how it ended.

    QEMU (seen with 7.2) holds back what a guest writes during the switch, and may then let it
    through the job's own node, which must not write any more: an assertion ends QEMU. Of a guest
    that stands still nothing is under way that could be held back.
    """
    try:
        if state["status"] == "ready":
            async with guest.standing_still():
                await qmp.execute("job-complete", {"id": job})
                state = await _until(qmp, job, ("concluded",), None)
        await qmp.execute("job-dismiss", {"id": job})
    except HypervisorError:
        end = await _abandon(guest, qmp, job)
        if end is None or "error" in end:
            raise
        return end
    return state


async def _to_its_end(work: Coroutine[None, None, Message]) -> Message:
    """Return what ``work`` returns; a cancellation meanwhile is not heeded."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        return task.result()


async def _until(qmp: Qmp, job: str, wanted: tuple[str, ...], progress: Progress | None) -> Message:
    pause_s = _SHORTEST_POLL_S
    shown = 0
    while (state := await _state(qmp, job))["status"] not in wanted:
        total = state["total-progress"]
        percent = min(99, 100 * state["current-progress"] // total) if total else 0
        if progress is not None and percent > shown:
            shown = percent
            progress(percent)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
    return state


async def _abandon(guest: Guest, qmp: Qmp, job: str) -> Message | None:
    """End the job and return how it ended; None if there is none, or it cannot be told."""
    try:
        if await _find(qmp, job) is None:
            return None
        async with guest.standing_still():
            with contextlib.suppress(QmpRefused):  # it has ended by itself
                await qmp.execute("block-job-cancel", {"device": job, "force": True})
            state = await _until(qmp, job, ("concluded",), None)
        await qmp.execute("job-dismiss", {"id": job})
    except HypervisorError as error:
        log.warning("block job %s cannot be ended: %s", job, error)
        return None
    return state


async def _state(qmp: Qmp, job: str) -> Message:
    state = await _find(qmp, job)
    if state is None:
        raise HypervisorError(f"QEMU has forgotten the job {job}")
    return state


async def _find(qmp: Qmp, job: str) -> Message | None:
    for state in await qmp.execute("query-jobs"):
        if state["id"] == job:
            return dict(state)
    return None
