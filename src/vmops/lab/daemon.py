"""The lab as a background process: one for a state folder, found again by the next command."""

from __future__ import annotations

import http.client
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vmops.child_environment import python_environment
from vmops.lab import listing, state
from vmops.lab.settings import LabSettings
from vmops.lab.state import StateError
from vmops.lab.wire.tls import thumbprint

START_S = 60.0
STOP_S = 60.0
LOG_TAIL_LINES = 20
EXIT_RUNS_ALREADY = 75
"""Exit status of a lab whose state folder another one has."""
KEEP_GUESTS_SIGNAL = signal.SIGUSR1
"""Like SIGTERM, but the guests run on."""

_started: list[subprocess.Popen[bytes]] = []
"""Kept so that they are waited for when they end, while this process lasts."""


class LabDied(StateError):
    """The background process ended, or did not answer in time; the text has its log's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What a client needs to connect."""

    url: str
    user_name: str
    password: str = field(repr=False)
    certificate_file: Path
    thumbprint: str
    """SHA-256 of the certificate."""
    pid: int


def start(settings: LabSettings) -> Endpoint:
    """Start the lab unless it runs, and wait until it answers.

    Raises:
        StateError: the state folder cannot be used.
        LabDied: it did not come up; the text says why, as far as its log knows.
    """
    state.make_folder(settings)
    state.load_identity(settings)
    # Were two to start processes at once, the loser's could outlast the winner's and take over.
    with state.only_starter(settings):
        return _start(settings)


def status(settings: LabSettings) -> Endpoint | None:
    """Where the lab answers; None if it does not run, or not yet."""
    pid = state.running_pid(settings)
    if pid is None:
        return None
    try:
        port = state.load_identity(settings).port
        if not _answers(port, settings.certificate_file):
            return None
        return Endpoint(
            url=f"https://127.0.0.1:{port}/sdk",
            user_name=settings.user_name,
            password=settings.password_file.read_text(),
            certificate_file=settings.certificate_file,
            thumbprint=thumbprint(settings.certificate_file),
            pid=pid,
        )
    except FileNotFoundError:
        return None


def stop(settings: LabSettings, *, keep_guests: bool = False) -> bool:
    """Stop the lab in order; guests end unless they are kept. Whether one ran.

    Raises:
        StateError: it belongs to this very process, or does not end within a minute.
    """
    pid = state.running_pid(settings)
    if pid is None:
        return False
    if pid == os.getpid():
        raise StateError("the lab runs in this process")
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # A number can be given to another process, but not while we hold the handle: whoever
        # has the folder's lock now is the process behind it.
        if state.running_pid(settings) == pid:
            number = KEEP_GUESTS_SIGNAL if keep_guests else signal.SIGTERM
            signal.pidfd_send_signal(process, number)
            if not select.select([process], [], [], STOP_S)[0]:
                raise StateError(f"the lab (process {pid}) does not end; see {settings.log_file}")
    finally:
        os.close(process)
    _reap()
    return True


def reset(settings: LabSettings) -> None:
    """Stop the lab, end guests that were kept, and delete everything in its state folder.

    Raises:
        StateError: the folder is no lab's, or the lab does not end.
    """
    if not settings.state_dir.exists():
        return
    if not settings.identity_file.exists() and listing.files(settings.state_dir):
        raise StateError(f"{settings.state_dir} is not a lab's state folder")
    if not stop(settings) and settings.inventory_file.exists():
        # A lab that comes up finds the guests it once left running, and ends them as it stops.
        start(settings)
        stop(settings)
    shutil.rmtree(settings.state_dir)


def arguments(settings: LabSettings) -> list[str]:
    """The command line that gives these settings to ``python -m vmops.lab``."""
    words = ["--state-dir", str(settings.state_dir.absolute())]
    words += ["--hypervisor", settings.hypervisor, "--port", str(settings.port)]
    words += ["--task-delay", str(settings.task_delay_s)]
    if settings.datastore_capacity_bytes is not None:
        words += ["--datastore-capacity", str(settings.datastore_capacity_bytes)]
    words += ["--guests-reach-host"] if settings.guests_reach_host else []
    return [*words, "--esx"] if settings.esx else words


def _start(settings: LabSettings) -> Endpoint:
    log_start = settings.log_file.stat().st_size if settings.log_file.exists() else 0
    process: subprocess.Popen[bytes] | None = None
    failure = ""
    deadline = time.monotonic() + START_S
    try:
        while (endpoint := status(settings)) is None and not failure:
            if process is None and state.running_pid(settings) is None:
                with later(signal.SIGINT):  # or nobody would know of the process
                    process = _spawn(settings)
            if process is not None and process.poll() not in (None, EXIT_RUNS_ALREADY):
                failure = "the lab did not start"
            elif time.monotonic() > deadline:
                failure = f"the lab did not answer within {START_S:.0f} s"
            time.sleep(0.02)
    except BaseException:
        _take_back(process)
        raise
    if endpoint is None:
        _take_back(process)
        raise LabDied(f"{failure}:\n{_tail(settings, log_start)}")
    return endpoint


def _take_back(process: subprocess.Popen[bytes] | None) -> None:
    """End a lab that nobody waits for any more; guests that ran before it run on."""
    if process is None or process.poll() is not None:
        return
    try:
        process.send_signal(KEEP_GUESTS_SIGNAL)
        process.wait(STOP_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


@contextmanager
def later(number: signal.Signals) -> Iterator[None]:
    """Hold a signal back for the length of a ``with`` block; it comes at its end.

    Only on the main thread, where signals come; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(number, before)
        if came:
            signal.raise_signal(number)


def _spawn(settings: LabSettings) -> subprocess.Popen[bytes]:
    # The child must find this very package, wherever it was imported from.
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
    descriptor = os.open(settings.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "vmops.lab", *arguments(settings)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            env=python_environment(PYTHONPATH=path),
        )
    finally:
        os.close(descriptor)
    _reap()
    _started.append(process)
    return process


def _reap() -> None:
    for process in [each for each in _started if each.poll() is not None]:
        _started.remove(process)


def _answers(port: int, certificate_file: Path) -> bool:
    context = ssl.create_default_context(cafile=str(certificate_file))
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/sdk/vimServiceVersions.xml")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(settings: LabSettings, start: int) -> str:
    try:
        with settings.log_file.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(lines[-LOG_TAIL_LINES:]) or "(it wrote nothing to its log)"
