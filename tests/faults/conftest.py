"""A lab without guests whose calls fail, and an engine on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.lab import LabBackend
from tests.builders import Images, an_image_store
from tests.contract.engine import Bench
from vmops import VMwareVMOps
from vmops.vsphere.session import Session


@pytest.fixture(scope="session")
def lab_backend() -> Iterator[LabBackend]:
    backend = LabBackend("lab")
    try:
        yield backend
    finally:
        backend.close()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return an_image_store(tmp_path_factory.mktemp("store") / "images")


@pytest.fixture(scope="module")
def session(lab_backend: LabBackend) -> Iterator[Session]:
    with lab_backend.connect() as connected:
        connected.inventory.wait_fresh()
        yield connected


@pytest.fixture
def bench(lab_backend: LabBackend, session: Session, images: Images) -> Iterator[Bench]:
    try:
        yield Bench(backend=lab_backend, session=session, images=images)
    finally:
        lab_backend.clean()


@pytest.fixture
def other(bench: Bench) -> Iterator[VMwareVMOps]:
    """An engine on a session of its own, as another process has it."""
    with bench.backend.connect() as connected:
        yield bench.engine(session=connected)
