"""Rescue from an ISO image: a drive with it is added, booted from, and taken away again."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LabBackend
from tests.builders import an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.test_image_formats import Held, held, iso
from vmops import Instance
from vmops.errors import InvalidState, VMOpsError
from vmops.lab.wire.failures import Failure, How

__all__ = ["held"]


@pytest.mark.parametrize("way", ["of a disk", "of the same image"])
def test_an_iso_image_is_a_rescue_system(bench: Bench, held: Held, way: str) -> None:
    """It is booted from a drive that goes again, also where the instance has one like it."""
    ops = held.hold(iso, "disk_format: iso")
    if way == "of a disk":
        instance = bench.spawn()
    else:
        instance = bench.spawn("held", ops=ops, instance=an_instance(root_gib=1))
    before = (drives(bench, instance), devices(bench, instance), boot_order(bench, instance))
    ops.rescue(None, instance, None, "held")
    added = drives(bench, instance)[len(before[0]) :]
    assert [drive.rpartition("/")[2] for drive in added] == [f"{held.store.get('held').id}.iso"]
    assert boot_order(bench, instance) == ["vim.vm.BootOptions.BootableCdromDevice"]
    assert bench.power(instance) == "poweredOn"
    with pytest.raises(InvalidState, match="rescued already"):
        ops.rescue(None, instance, None, "held")
    ops.unrescue(instance)
    assert (
        drives(bench, instance),
        devices(bench, instance),
        boot_order(bench, instance),
    ) == before
    assert bench.power(instance) == "poweredOn"


def drives(bench: Bench, instance: Instance) -> list[str]:
    """The images in the instance's drives."""
    found = second_view.devices(bench.vm(instance), vim.vm.device.VirtualCdrom)
    return [drive.backing.fileName for drive in found]


def devices(bench: Bench, instance: Instance) -> list[int]:
    return [
        device.key
        for device in second_view.devices(bench.vm(instance), vim.vm.device.VirtualDevice)
    ]


def boot_order(bench: Bench, instance: Instance) -> list[str]:
    """The kinds of devices in it; one of no kind is the server's own order."""
    options = second_view.properties(bench.vm(instance), "config.bootOptions")
    names = [type(entry).__name__ for entry in options["config.bootOptions"].bootOrder]
    return [name for name in names if name != "vim.vm.BootOptions.BootableDevice"]


@needs(Capability.GUEST)
def test_a_guest_is_rescued_by_an_iso_image(bench: Bench, held: Held) -> None:
    """Its boot sector cannot count on its own medium; the instance's own goes on counting."""
    ops = held.hold(iso, "disk_format: iso")
    instance = bench.spawn()
    log = bench.serial(instance)
    log.wait_for("boot 1\r\n")
    ops.rescue(None, instance, None, "held")
    log.wait_for("disk error")
    assert log.text().count("vmops boot sector") == 2
    ops.unrescue(instance)
    log.wait_for("boot 2\r\n")


@needs(Capability.CONTROL)
@pytest.mark.parametrize("how", [How.REFUSED, How.TASK_FAILS, How.LOST_BEFORE, How.LOST_AFTER])
@pytest.mark.parametrize(
    ("call", "nth"), [("ReconfigVM_Task", 1), ("ReconfigVM_Task", 2), ("PowerOnVM_Task", 1)]
)
def test_one_that_fails_leaves_all_as_it_was(
    bench: Bench, held: Held, call: str, nth: int, how: How
) -> None:
    ops = held.hold(iso, "disk_format: iso")
    instance = bench.spawn()
    before = (drives(bench, instance), boot_order(bench, instance))
    assert isinstance(bench.backend, LabBackend)
    bench.backend.lab.failures.plan(Failure(call=call, how=how, nth=nth))
    with pytest.raises(VMOpsError):
        ops.rescue(None, instance, None, "held")
    bench.backend.lab.failures.clear()
    assert (drives(bench, instance), boot_order(bench, instance)) == before
    assert second_view.extra_config(bench.vm(instance)).get("vmops.rescue", "") == ""
    assert bench.power(instance) == "poweredOn"
