"""A process that rescues is killed; another one, with a session of its own, puts all back."""

from __future__ import annotations

import pytest

from tests.contract.engine import Bench
from tests.faults import changing, killing
from tests.faults.killing import Doom, after
from tests.faults.test_rescue import end_unrescue
from vmops import Instance, VMwareVMOps
from vmops.errors import InvalidState, NotRescued


def kill(bench: Bench, instance: Instance, moment: str, *do: str) -> None:
    doom = Doom(uuid=instance.uuid, do=do, moment=moment, images=str(bench.images.store.directory))
    killing.kill(bench.control, doom)


@pytest.mark.parametrize(
    "moment",
    [
        "Power off",
        "Copy the image to the rescue disk",
        "Attach the rescue disk",
        "Boot from the rescue disk",
        "Power on",
        after("rescue"),
    ],
)
def test_another_process_unrescues(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    kill(bench, instance, moment, "rescue")
    other.unrescue(instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("Copy the image to the rescue disk", "broke off before its end"),
        ("Boot from the rescue disk", "broke off before its end"),
        ("Power on", "is rescued already"),
    ],
)
def test_a_second_rescue_is_told_whether_the_first_had_ended(
    bench: Bench, other: VMwareVMOps, moment: str, said: str
) -> None:
    instance = bench.spawn()
    kill(bench, instance, moment, "rescue")
    with pytest.raises(InvalidState, match=rf"{said}. Unrescue it first"):
        other.rescue(None, instance, None, "flat")
    other.unrescue(instance)
    other.rescue(None, instance, None, "flat")


def test_a_rescue_killed_before_its_note_has_changed_nothing(
    bench: Bench, other: VMwareVMOps
) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    kill(bench, instance, "Note what has to be put back", "rescue")
    assert changing.facts(bench, instance) == before
    with pytest.raises(NotRescued):
        other.unrescue(instance)
    other.rescue(None, instance, None, "flat")


@pytest.mark.parametrize("moment", ["Detach the rescue disk and boot as before", "Power on"])
def test_another_process_unrescues_again(bench: Bench, other: VMwareVMOps, moment: str) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    other.rescue(None, instance, None, "flat")
    kill(bench, instance, moment, "unrescue")
    end_unrescue(bench, other, instance)
    assert changing.facts(bench, instance) == before
