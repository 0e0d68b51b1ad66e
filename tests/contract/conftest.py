"""The contract runs on every back end; a test says what it needs with `@needs(...)`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.backend import Backend
from tests.backends.registry import EVERY_BACK_END, KINDS
from tests.builders import Images, an_image_store
from tests.contract.engine import Bench
from tests.contract.needs import skips
from vmops.vsphere.session import Session


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): what a back end must have")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of the contract once for each back end, or skip it there with the reason.

    A back end that nobody configured has no tests, except for the page of coverage.
    """
    if "backend" not in metafunc.fixturenames:
        return
    every = metafunc.config.stash.get(EVERY_BACK_END, False)
    params = []
    for kind in KINDS.values():
        if not (every or kind.is_configured()):
            continue
        marks = [] if kind.marker is None else [getattr(pytest.mark, kind.marker)]
        reason = skips(metafunc.definition, kind.name)
        if reason is not None:
            marks.append(pytest.mark.skip(reason=reason))
        params.append(pytest.param(kind.name, marks=marks))
    metafunc.parametrize("backend", params, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    kind = KINDS[request.param]
    if (missing := kind.missing()) is not None:
        pytest.skip(missing)
    started = kind.start()
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Images that are made once; a test that needs others adds them with names of its own."""
    folder: Path = tmp_path_factory.mktemp("store")
    return an_image_store(folder / "images", {"vmware_ostype": "otherGuest"})


@pytest.fixture(scope="module")
def session(backend: Backend) -> Iterator[Session]:
    with backend.connect() as connected:
        yield connected


@pytest.fixture
def bench(backend: Backend, session: Session, images: Images) -> Iterator[Bench]:
    """The engine on the back end, and the second view; what the test made is taken away."""
    try:
        yield Bench(backend=backend, session=session, images=images)
    finally:
        backend.clean()
