"""The lab as a whole: assembled, started, stopped."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from vmops.lab import state
from vmops.lab.hypervisor.null import NullHypervisor
from vmops.lab.hypervisor.port import Hypervisor
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.service import add_service
from vmops.lab.kernel.service_instance import WIRE_VERSION
from vmops.lab.kernel.session_manager import SessionManager
from vmops.lab.loop_thread import LoopThread
from vmops.lab.objects.inventory import build_inventory
from vmops.lab.qemu import QemuHypervisor
from vmops.lab.qemu.missing import find_program
from vmops.lab.settings import LabSettings
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.merging import LayerFiles
from vmops.lab.storage.volumes import Volumes
from vmops.lab.wire import console, folder, nfc, policies, screen, tls
from vmops.lab.wire.app import application
from vmops.lab.wire.codec import encoder
from vmops.lab.wire.connections import (
    CONNECTIONS,
    FIRST_REQUEST_S,
    IDLE_KNOWN_S,
    LOOK_S,
    Connections,
    Listening,
)
from vmops.lab.wire.failures import Failures, middleware
from vmops.lab.wire.server_log import REQUESTS_LOG
from vmops.lab.wire.wire_log import WireLog

T = TypeVar("T")

HOST = "127.0.0.1"
BACKLOG = 512
STOP_S = 5.0
"""How long requests under way may take to end when the lab stops."""


class Lab:
    """One lab. Start and stop it on an event loop, or use `run`, which brings its own."""

    def __init__(self, settings: LabSettings) -> None:
        self.settings = settings
        self.wire_log = WireLog()
        """SOAP calls that came in, by method and operationID header."""
        self.failures = Failures()
        """Calls that are to fail, for tests of clients."""
        self._keep_guests = False
        self._started: AsyncExitStack | None = None
        self._kernel: Kernel | None = None
        self._thread: LoopThread | None = None
        self._lock: state.StateLock | None = None
        self._app: web.Application | None = None
        self._socket: Listening | None = None

    @classmethod
    @contextmanager
    def run(cls, settings: LabSettings) -> Iterator[Lab]:
        """Run a lab on a thread for the length of a ``with`` block.

        Raises:
            StateError: as `start` does.
        """
        lab = cls(settings)
        lab._thread = LoopThread("vmops-lab")
        try:
            lab._thread.call(lab.start())
            yield lab
        finally:
            lab._close_thread()

    async def start(self) -> None:
        """Start to serve.

        Raises:
            StateError: the state folder cannot be used, another process uses it, or another
                program has the port that was asked for.
            HypervisorMissing: QEMU is asked for by name and is not installed.
        """
        async with AsyncExitStack() as undo:
            await self._start(undo)
            self._started = undo.pop_all()

    async def stop(self, *, keep_guests: bool = False) -> None:
        """Stop to serve, save everything, and end the guests unless they are to run on."""
        if self._started is not None:
            self._keep_guests = keep_guests
            started, self._started = self._started, None
            await started.aclose()

    def kill(self) -> None:
        """Stop dead, as if the process had been killed: nothing is saved and guests run on.

        Only for a lab from `run`. Blocking work that a thread has begun runs to its end.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.abandon()
        if self._socket is not None:
            self._socket.close()
        if self._lock is not None:
            self._lock.release()

    def on_loop(self, work: Callable[[Kernel], Awaitable[T]]) -> T:
        """Run something on the loop of a lab from `run`, with its kernel, and wait for it."""
        if self._thread is None:
            raise RuntimeError("this lab has no loop of its own")

        async def call() -> T:
            return await work(self.kernel)

        return self._thread.call(call())

    @property
    def kernel(self) -> Kernel:
        """The managed objects; for the lab's loop only."""
        if self._kernel is None:
            raise RuntimeError("the lab has not been started")
        return self._kernel

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"https://{HOST}:{state.load_identity(self.settings).port}/sdk"

    @property
    def endpoints(self) -> frozenset[tuple[str, str]]:
        """HTTP method and path, with names in braces for what differs, of all that is served."""
        routes = [] if self._app is None else self._app.router.routes()
        return frozenset(
            (each.method, each.resource.canonical) for each in routes if each.resource is not None
        )

    @property
    def username(self) -> str:
        """The user name of the only account."""
        return self.settings.user_name

    @property
    def password(self) -> str:
        """The account's password."""
        return self.settings.password_file.read_text()

    @property
    def certificate_file(self) -> Path:
        """The certificate, for clients that verify; it is its own authority."""
        return self.settings.certificate_file

    @property
    def thumbprint(self) -> str:
        """The certificate's SHA-256, as ``AB:CD:...``."""
        return tls.thumbprint(self.certificate_file)

    def datastore_root(self, name: str) -> Path:
        """The directory that is a datastore.

        Raises:
            UnknownDatastore: there is none of that name.
        """
        return self.kernel.service(Volumes).root(name)

    async def _start(self, undo: AsyncExitStack) -> None:
        settings = self.settings
        state.make_folder(settings)
        self._lock = state.StateLock(settings)
        undo.callback(self._lock.release)
        state.ensure_password(settings)
        identity = state.load_identity(settings)
        tls.ensure_certificate(settings.certificate_file, settings.key_file)
        self._socket = undo.enter_context(closing(_listening(settings.port, identity.port)))
        identity = replace(identity, port=self._socket.getsockname()[1])
        state.save_identity(settings, identity)

        kernel = self._kernel = Kernel(settings, hypervisor_for(settings))
        volumes = Volumes({}, settings.datastore_capacity_bytes)
        kernel.provide(volumes)
        kernel.provide(DiskStore(volumes))
        sessions = add_service(
            kernel,
            password=self.password,
            instance_uuid=identity.instance_uuid,
            fingerprint=_fingerprint,
        )
        undo.push_async_callback(self._stop_guests, kernel)
        undo.push_async_callback(kernel.stop)
        await build_inventory(kernel)

        routes = [route for part in (folder, nfc, screen) for route in part.routes(kernel)]
        app = application(
            kernel, sessions, self.wire_log, routes, [middleware(kernel, self.failures)]
        )
        self._app = app
        console.add_console(app, kernel)
        policies.add_policies(app, kernel, sessions, self.wire_log)
        app[CONNECTIONS] = self._socket.connections = Connections()
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=REQUESTS_LOG,
            shutdown_timeout=STOP_S,
            keepalive_timeout=IDLE_KNOWN_S,
        )
        undo.push_async_callback(_close_connections, runner)
        undo.callback(sessions.end_all)
        await runner.setup()
        context = tls.server_context(settings.certificate_file, settings.key_file)
        undo.callback((await _served(runner, self._socket, context)).close)
        watching = asyncio.create_task(_watch(app[CONNECTIONS], sessions))
        undo.push_async_callback(_ended, watching)

    async def _stop_guests(self, kernel: Kernel) -> None:
        await kernel.hypervisor.stop(keep_guests=self._keep_guests)

    def _close_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                thread.call(self.stop())
            finally:
                thread.close()


def hypervisor_for(settings: LabSettings) -> Hypervisor:
    """Return the hypervisor the settings ask for.

    With "auto" QEMU may be missing: everything but starting a guest then works, and starting one
    raises HypervisorMissing. It is looked for at every start, so installing it is enough.

    Raises:
        HypervisorMissing: "qemu" is asked for by name and is not installed.
    """
    if settings.hypervisor == "none":
        return NullHypervisor(LayerFiles())
    if settings.hypervisor == "qemu":
        find_program("qemu-system-x86_64")
    return QemuHypervisor(settings.state_dir / "run", guests_reach_host=settings.guests_reach_host)


async def _served(
    runner: web.AppRunner, listening: Listening, context: ssl.SSLContext
) -> asyncio.Server:
    """Serve on the socket; aiohttp's own site would give a client a minute for its TLS."""
    if runner.server is None:
        raise RuntimeError("the runner is not set up")
    return await asyncio.get_running_loop().create_server(
        runner.server,
        sock=listening,
        ssl=context,
        ssl_handshake_timeout=FIRST_REQUEST_S,
        backlog=BACKLOG,
    )


async def _watch(connections: Connections, sessions: SessionManager) -> None:
    """Hang up on idle clients, and end idle sessions with what they hold open, for ever."""
    while True:
        connections.look()
        sessions.expire()
        await asyncio.sleep(LOOK_S)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _close_connections(runner: web.AppRunner) -> None:
    """Let requests under way end, then close whatever connection is left."""
    handlers = [] if runner.server is None else runner.server.connections
    transports = [each.transport for each in handlers if each.transport is not None]
    ends = [(each, each.get_extra_info("socket")) for each in transports]
    await runner.cleanup()
    left = [(each, end) for each, end in ends if end is not None and end.fileno() >= 0]
    for transport, end in left:
        # TLS would wait half a minute for a client that does not say goodbye. A transport that
        # was closed twice aborts nothing, and Python 3.11.2 raises: its socket is ended.
        with suppress(AttributeError):
            transport.abort()
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    async with asyncio.timeout(STOP_S):
        while any(end.fileno() >= 0 for _, end in left):
            await asyncio.sleep(0)
        await _end_lingering()


async def _end_lingering() -> None:
    """End who reads on, for seconds, what a client sends whose request was refused.

    aiohttp forgets them when the connection is lost, and would leave them to a loop that is closed.
    """
    start = web.RequestHandler.start.__qualname__
    tasks = [each for each in asyncio.all_tasks() if _name_of(each) == start]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _name_of(task: asyncio.Task[object]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))


def _listening(asked: int, last: int) -> Listening:
    """Listen on the port asked for, else on the last one, else on one that is free."""
    try:
        return Listening.at((HOST, asked or last), BACKLOG)
    except OSError as error:
        if asked:
            raise state.StateError(f"port {asked} cannot be used: {error.strerror}") from error
    return Listening.at((HOST, 0), BACKLOG)


def _fingerprint(value: object) -> int:
    return hash(encoder(WIRE_VERSION).text("v", object, value))
