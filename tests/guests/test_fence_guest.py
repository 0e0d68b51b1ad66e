"""A guest does not reach the machine that it runs on, unless it is let."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.guests.lab_guest import LabGuest
from tests.guests.plain_qemu import require_qemu
from tests.lab.client import connect
from vmops.lab import Lab, LabSettings

pytestmark = pytest.mark.guest
LEADING_HERE = ("10.0.2.2", "10.0.2.3", "10.0.2.4", "10.0.2.1", "10.0.2.200")


class Greeter:
    """Greets whoever connects on this machine's loopback."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._greet, daemon=True).start()

    def _greet(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.sendall(b"hello-from-the-host\n")
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module", params=[False, True], ids=["fenced", "let"])
def guest(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LabGuest, bool]]:
    require_qemu()
    settings = LabSettings(
        state_dir=tmp_path_factory.mktemp("fence"),
        hypervisor="qemu",
        guests_reach_host=request.param,
    )
    with ExitStack() as undo:
        client = connect(undo.enter_context(Lab.run(settings)))
        undo.callback(client.stub.DropConnections)
        made = LabGuest(client, "curious", mac="00:50:56:0a:0b:20")
        made.power_on()
        # It has got an address in any case.
        made.wait_until("guest.ipAddress", lambda value: value is not None, seconds=180)
        made.wait_for("root login on 'tty1'")
        yield made, request.param


def test_what_leads_to_this_machine_is_reached_only_if_it_is_let(
    guest: tuple[LabGuest, bool],
) -> None:
    curious, is_let = guest
    greeter = Greeter()
    try:
        for address in LEADING_HERE if not is_let else LEADING_HERE[:1]:
            heard = curious.run(f"nc -w 2 {address} {greeter.port} </dev/null; echo end")
            assert ("hello-from-the-host" in heard) is is_let, (address, heard)
    finally:
        greeter.close()
    port = curious.client.lab.url.rpartition(":")[2].partition("/")[0]
    reached = curious.run(f"nc -w 2 10.0.2.2 {port} </dev/null && echo reached; echo end")
    assert ("reached" in reached) is is_let
    assert "1 packets received" in curious.run("ping -c 1 10.0.2.2")
