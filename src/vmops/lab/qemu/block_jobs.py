"""Waiting for QEMU's block jobs: a commit or a mirror, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from vmops.lab.hypervisor import HypervisorError, Progress
from vmops.lab.qemu.qmp import Qmp, QmpRefused

log = logging.getLogger(__name__)

_SHORTEST_POLL_S, _LONGEST_POLL_S = 0.01, 0.2


async def run_block_job(
    qmp: Qmp, command: str, arguments: Mapping[str, Any], progress: Progress | None
) -> None:
    """Start a job and return when it is done; its ``job-id`` is among the arguments.

    A job that ends in a switch of nodes is told to switch as soon as it can. On failure, and if
    this is cancelled, the job has ended without effect before this raises.

    Raises:
        HypervisorError: QEMU refused the job, or it failed; the text has QEMU's reason.
    """
    job = str(arguments["job-id"])
    await qmp.execute(command, {**arguments, "auto-dismiss": False})
    try:
        await _finish(qmp, job, progress)
    except BaseException:
        await asyncio.shield(_abandon(qmp, job))
        raise
    if progress is not None:
        progress(100)


async def _finish(qmp: Qmp, job: str, progress: Progress | None) -> None:
    pause_s = _SHORTEST_POLL_S
    shown = 0
    switching = False
    while True:
        state = await _state(qmp, job)
        if state["status"] == "concluded":
            await qmp.execute("job-dismiss", {"id": job})
            if "error" in state:
                raise HypervisorError(f"the disk's data cannot be copied: {state['error']}")
            return
        if state["status"] == "ready" and not switching:
            await qmp.execute("job-complete", {"id": job})
            switching = True
        total = state["total-progress"]
        percent = min(99, 100 * state["current-progress"] // total) if total else 0
        if progress is not None and percent > shown:
            shown = percent
            progress(percent)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)


async def _abandon(qmp: Qmp, job: str) -> None:
    try:
        await qmp.execute("block-job-cancel", {"device": job, "force": True})
        while (await _state(qmp, job))["status"] != "concluded":
            await asyncio.sleep(_SHORTEST_POLL_S)
        await qmp.execute("job-dismiss", {"id": job})
    except QmpRefused as error:  # it had ended by itself, and was dismissed
        log.debug("block job %s: %s", job, error)
    except HypervisorError as error:
        log.warning("block job %s cannot be ended: %s", job, error)


async def _state(qmp: Qmp, job: str) -> Mapping[str, Any]:
    for state in await qmp.execute("query-jobs"):
        if state["id"] == job:
            return dict(state)
    raise HypervisorError(f"QEMU has forgotten the job {job}")
