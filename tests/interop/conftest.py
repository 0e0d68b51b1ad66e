"""A lab without guests, as clients that we did not write find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vmops.lab import Lab, LabSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=[False, True], ids=["vcenter", "esx"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    state_dir = tmp_path_factory.mktemp("lab")
    settings = LabSettings(state_dir=state_dir, esx=request.param, hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="module")
def port(lab: Lab) -> int:
    return int(lab.url.removesuffix("/sdk").rpartition(":")[2])
