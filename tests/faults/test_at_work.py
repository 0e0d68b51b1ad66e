"""Another process is in the middle of its work: it is left to it; once it is dead, it is ended."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.backends import second_view
from tests.contract.engine import Bench
from tests.faults import changing, killing
from tests.faults.killing import Doom
from vmops.errors import Busy


@pytest.mark.parametrize(
    ("operation", "name", "moment"),
    [
        ("rescue", "rescue", "Copy the image to the rescue disk"),
        ("migrate", "resize", "Change the size, and exchange the root disk"),
    ],
)
def test_its_work_is_not_disturbed_and_ended_once_it_is_dead(
    bench: Bench, operation: str, name: str, moment: str
) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    ends = {
        "rescue": lambda: bench.ops.unrescue(instance),
        "migrate": lambda: bench.ops.finish_revert_migration(instance, None),
    }
    doom = Doom(
        uuid=instance.uuid,
        do=(operation,),
        moment=moment,
        vcpus=2,
        images=str(bench.images.store.directory),
        signal=signal.SIGSTOP,
    )
    with killing.stopped(bench.control, doom) as pid:
        middle = changing.facts(bench, instance)
        told = (
            f"{instance.uuid}.* is busy: {name} is under way, by .* .process {pid} of this machine"
        )
        refused: list[Callable[[], object]] = [
            ends[operation],
            lambda: bench.ops.power_on(None, instance),
        ]
        for do in refused:
            with pytest.raises(Busy, match=told):
                do()
        assert changing.facts(bench, instance) == middle
    ends[operation]()
    assert changing.facts(bench, instance) == before
    assert not second_view.extra_config(bench.vm(instance)).get("vmops.worker")
