"""Volumes come to instances and leave them."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.volumes import (
    MadeVolume,
    a_first_class_disk,
    a_shadow_vm,
    disk_of,
    disks_of,
    notes,
    paths,
)
from vmops import VMwareVMOps
from vmops.errors import (
    Busy,
    Invalid,
    InvalidPowerState,
    InvalidState,
    NotSupported,
    VolumeInUse,
    VolumeNotFound,
)
from vmops.ops.volumeops import VMwareVolumeOps


MAKERS = {"vmdk": a_shadow_vm, "fcd": a_first_class_disk}


@pytest.fixture(params=list(MAKERS))
def volume(request: pytest.FixtureRequest, bench: Bench) -> MadeVolume:
    """A volume of either kind."""
    lacks = bench.backend.lacks
    if request.param == "fcd" and (reason := lacks.get(Capability.FIRST_CLASS_DISKS)):
        pytest.skip(f"needs {Capability.FIRST_CLASS_DISKS}: {reason}")
    return MAKERS[request.param](bench)


def test_a_volume_comes_and_leaves(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn()
    before = paths(bench, instance)
    bench.ops.attach_volume(None, volume.connection, instance)
    assert paths(bench, instance) == [*before, volume.path]
    bench.ops.detach_volume(None, volume.connection, instance)
    assert paths(bench, instance) == before
    assert notes(bench, instance) == {}
