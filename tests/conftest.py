"""What holds for every test: a home of its own, no network, no process left behind."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.guards import network, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ("tests.cases",)

LEFT_OVER = pytest.StashKey[list[processes.Process]]()
HOME = pytest.StashKey[Path]()

# Guests without hardware virtualisation take the cores for seconds: how long an example took
# says nothing about the code.
hypothesis.settings.register_profile("vmops", deadline=None)
hypothesis.settings.load_profile("vmops")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the process that controls the run; workers of xdist inherit its environment."""
    # A shell starts what it puts into the background with Ctrl-C ignored, and all that comes of it
    # inherits that: tests of interruptions need it heeded.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not is_worker(config):
        config.stash[HOME] = Path(tempfile.mkdtemp(prefix="vmops-tests-"))
        os.environ.update(environment(config.stash[HOME]))
        for name in [name for name in os.environ if name.startswith("GOVC_")]:
            del os.environ[name]
        os.environ.pop("VMOPS_URL", None)
        os.environ[processes.MARK] = processes.new_mark()


def pytest_unconfigure(config: pytest.Config) -> None:
    if HOME in config.stash:
        shutil.rmtree(config.stash[HOME], ignore_errors=True)


def environment(home: Path) -> dict[str, str]:
    """What keeps a test, and whatever it starts, out of the caller's own settings and state."""
    return {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "NO_COLOR": "1",
    }


@pytest.fixture(autouse=True, scope="session")
def no_network_outside_this_machine() -> Iterator[None]:
    with network.loopback_only():
        yield


def pytest_collection_finish() -> None:
    """Set aside what was imported and collected, so that looking for garbage takes no time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left_open_by_the_file() -> Iterator[None]:
    yield
    gc.collect()
    # What lives on is set aside too: looking through all of it took more time than most tests.
    gc.freeze()


@pytest.fixture(autouse=True)
def the_log_is_as_before() -> None:
    """Undo what a command did before: it sets up logging for its process, which is all tests'."""
    log = logging.getLogger("vmops")
    log.setLevel(logging.NOTSET)
    log.handlers.clear()


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Find sockets, files and transports that nobody closed while the test that did it runs.

    Python warns of them where they are collected as garbage, which would be in some later test.
    """
    yield
    gc.collect()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what the tests started and left running, and fail the run for it."""
    if is_worker(session.config):
        return
    left_over = processes.wait_for_none(os.environ[processes.MARK], seconds=2.0)
    session.config.stash[LEFT_OVER] = left_over
    if left_over:
        processes.end(left_over)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    left_over = config.stash.get(LEFT_OVER, [])
    if left_over:
        terminalreporter.section("processes left running by the tests", red=True, bold=True)
        for process in left_over:
            terminalreporter.line(f"{process.pid}: {process.command}")


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
