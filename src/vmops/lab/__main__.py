"""``python -m vmops.lab``: a lab in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from vmops.lab import log_file
from vmops.lab.daemon import EXIT_RUNS_ALREADY, KEEP_GUESTS_SIGNAL
from vmops.lab.hypervisor.errors import HypervisorMissing
from vmops.lab.server import Lab
from vmops.lab.settings import LabSettings
from vmops.lab.state import LabRunsAlready, StateError

log = logging.getLogger("vmops.lab")


def main() -> int:
    """Run a lab; the exit status."""
    settings = _settings()
    log_file.set_up(settings.log_file)
    try:
        asyncio.run(_serve(settings))
    except LabRunsAlready as error:
        log.error("%s", error)  # noqa: TRY400  the sentence is all there is to know
        return EXIT_RUNS_ALREADY
    except (StateError, HypervisorMissing) as error:
        log.error("%s", error)  # noqa: TRY400  the sentence is all there is to know
        return 1
    return 0


def _settings() -> LabSettings:
    parser = argparse.ArgumentParser(prog="python -m vmops.lab", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--esx", action="store_true")
    parser.add_argument("--hypervisor", choices=["auto", "qemu", "none"], default="auto")
    parser.add_argument("--guests-reach-host", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--datastore-capacity", type=int, default=None, metavar="BYTES")
    parser.add_argument("--task-delay", type=float, default=0.0, metavar="SECONDS")
    given = parser.parse_args()
    return LabSettings(
        state_dir=given.state_dir,
        esx=given.esx,
        hypervisor=given.hypervisor,
        guests_reach_host=given.guests_reach_host,
        port=given.port,
        datastore_capacity_bytes=given.datastore_capacity,
        task_delay_s=given.task_delay,
    )


async def _serve(settings: LabSettings) -> None:
    lab = Lab(settings)
    asked = asyncio.get_running_loop().create_future()

    def stop(keep_guests: bool) -> None:
        if not asked.done():
            asked.set_result(keep_guests)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop, False)
    loop.add_signal_handler(signal.SIGINT, stop, False)
    loop.add_signal_handler(KEEP_GUESTS_SIGNAL, stop, True)
    await lab.start()
    log.info("the lab answers at %s", lab.url)
    keep_guests = await asked
    log.info("stopping")
    await lab.stop(keep_guests=keep_guests)
    log.info("stopped")


if __name__ == "__main__":
    sys.exit(main())
