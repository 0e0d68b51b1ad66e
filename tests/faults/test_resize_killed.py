"""A process that resizes is killed; another one, with a session of its own, ends the resize."""

from __future__ import annotations

import pytest

from tests.contract.engine import Bench
from tests.faults import changing, killing
from tests.faults.killing import Doom, after
from tests.faults.test_resize import FLAVOR, check_confirmed
from vmops import Instance, VMwareVMOps

COPYING = "Copy the root disk, and let the copy grow"
CHANGING = "Change the size, and exchange the root disk"
RESIZE = ("migrate", "finish")


def kill(bench: Bench, instance: Instance, moment: str, *, then: str = "") -> None:
    """Resize, and ``then`` settle it, in a process that is killed at this moment."""
    doom = Doom(
        uuid=instance.uuid,
        do=(*RESIZE, then) if then else RESIZE,
        moment=moment,
        vcpus=FLAVOR.vcpus,
        memory_mib=FLAVOR.memory_mib,
        root_gib=FLAVOR.root_gib,
    )
    killing.kill(bench.control, doom)


@pytest.mark.parametrize(
    "moment", ["Power off", COPYING, CHANGING, after("migrate"), "Power on", after("finish")]
)
def test_another_process_reverts(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    kill(bench, instance, moment)
    other.finish_revert_migration(instance, None)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("moment", [after("migrate"), "Power on", after("finish")])
def test_another_process_confirms(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    kill(bench, instance, moment)
    other.finish_migration(None, None, instance, None, None, None, True)
    other.confirm_migration(None, instance, None)
    check_confirmed(bench, instance)


@pytest.mark.parametrize("moment", ["Forget the resize", "Delete the old disks"])
def test_another_process_confirms_again(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    kill(bench, instance, moment, then="confirm")
    other.confirm_migration(None, instance, None)
    check_confirmed(bench, instance)


@pytest.mark.parametrize("moment", ["Take the old size and disks", "Forget the resize"])
def test_another_process_reverts_again(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    kill(bench, instance, moment, then="revert")
    other.finish_revert_migration(instance, None)
    assert changing.facts(bench, instance) == before
