"""What the process runs that is killed in the middle of a resize, or between its calls."""

from __future__ import annotations

import os
import signal
import sys

import vmops
from vmops import EngineSettings, Flavor, VMwareVMOps
from vmops.progress import Event, StepStarted

PROGRAM = "from tests.faults import resizing; resizing.main()"
AFTER_MIGRATE, AFTER_FINISH = "after migrate", "after finish"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    uuid, moment, vcpus, memory_mib, root_gib = sys.argv[1:]
    flavor = Flavor(vcpus=int(vcpus), memory_mib=int(memory_mib), root_gib=int(root_gib))

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == moment:
            die()

    with vmops.connect(
        os.environ["VMOPS_TEST_URL"],
        os.environ["VMOPS_TEST_USERNAME"],
        os.environ["VMOPS_TEST_PASSWORD"],
        thumbprint=os.environ["VMOPS_TEST_THUMBPRINT"],
    ) as session:
        ops = VMwareVMOps(session, config=EngineSettings(), observe=observe)
        ops.migrate_disk_and_power_off(None, uuid, "", flavor)
        if moment == AFTER_MIGRATE:
            die()
        ops.finish_migration(None, None, uuid, None, None, None, True)
        if moment == AFTER_FINISH:
            die()
