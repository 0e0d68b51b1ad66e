from __future__ import annotations

import pytest

from vmops.errors import ConnectionLost
from vmops.vsphere.wire.limits import Limits
from vmops.vsphere.wire.silence import GaveUp
from vmops.vsphere.wire.vigil import Vigil

LIMITS = Limits()
WINDOW_S = LIMITS.window_s


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Answers a probe, or takes its whole time."""

    def __init__(self, clock: Clock, *, lives: bool) -> None:
        self.clock = clock
        self.lives = lives
        self.is_refusing = False
        self.probes: list[float] = []

    def probe(self, limit_s: float) -> bool:
        self.probes.append(limit_s)
        if not self.lives and not self.is_refusing:
            self.clock.now += limit_s
        return self.lives


def vigil_of(clock: Clock, server: Server) -> Vigil:
    vigil = Vigil("the server", LIMITS, clock)
    vigil.probe = server.probe
    return vigil


def vigil_without_server() -> tuple[Clock, Vigil]:
    clock = Clock()
    return clock, vigil_of(clock, Server(clock, lives=False))


def given_up(clock: Clock, vigil: Vigil) -> None:
    began = clock.now
    clock.now += WINDOW_S + 0.1
    vigil.note_loss(began)


def test_an_outage_lasts_from_its_first_loss_to_an_answer() -> None:
    clock, vigil = vigil_without_server()
    assert not vigil.outlasts(1000)
    vigil.note_loss(clock.now)
    assert vigil.is_away
    assert not vigil.outlasts(WINDOW_S)
    clock.now += WINDOW_S / 2
    vigil.note_loss(clock.now)
    assert not vigil.outlasts(WINDOW_S / 2)
    assert vigil.outlasts(WINDOW_S / 2 + 0.1)
    vigil.note_answer()
    assert not vigil.is_away
    vigil.note_loss(clock.now)
    assert not vigil.outlasts(WINDOW_S)


def test_a_loss_long_after_the_last_one_is_another_outage() -> None:
    clock, vigil = vigil_without_server()
    vigil.note_loss(clock.now)
    clock.now += 10 * WINDOW_S
    vigil.note_loss(clock.now)
    assert not vigil.outlasts(WINDOW_S)


def test_a_call_that_waited_long_used_up_the_window_by_that() -> None:
    clock, vigil = vigil_without_server()
    given_up(clock, vigil)
    assert vigil.outlasts(0)


def test_an_answer_to_another_call_is_no_part_of_the_outage() -> None:
    clock, vigil = vigil_without_server()
    began = clock.now
    clock.now += WINDOW_S
    vigil.note_answer()
    clock.now += 1
    vigil.note_loss(began)
    assert not vigil.outlasts(WINDOW_S - 1)


def test_a_server_that_answers_others_is_waited_for() -> None:
    clock = Clock()
    server = Server(clock, lives=True)
    vigil = vigil_of(clock, server)
    heard = clock.now
    for _ in range(60):
        clock.now += 1
        vigil.bear(heard, LIMITS.read_silence_s)
    # As often as nobody has heard of it for a while, whoever waits.
    assert len(server.probes) == 60 // LIMITS.probe_after_s


def test_a_server_that_answers_nobody_is_given_up() -> None:
    clock = Clock()
    server = Server(clock, lives=False)
    vigil = vigil_of(clock, server)
    heard = clock.now
    clock.now += LIMITS.probe_after_s
    with pytest.raises(GaveUp, match="for 12 seconds"):
        while True:
            vigil.bear(heard, LIMITS.read_silence_s)
    assert clock.now - heard == pytest.approx(LIMITS.read_silence_s)
    assert max(server.probes) <= LIMITS.handshake_s


def test_a_call_of_an_outage_is_given_up_with_it() -> None:
    clock, vigil = vigil_without_server()
    vigil.note_loss(clock.now)
    clock.now += 9
    began = clock.now
    clock.now += 3
    with pytest.raises(GaveUp):
        vigil.bear(began, 12)


def test_nothing_is_sent_to_a_server_that_was_given_up() -> None:
    clock = Clock()
    server = Server(clock, lives=False)
    vigil = vigil_of(clock, server)
    vigil.admit("CloneVM_Task")
    given_up(clock, vigil)
    begin = clock.now
    for _ in range(100):
        with pytest.raises(ConnectionLost, match="CloneVM_Task was not sent"):
            vigil.admit("CloneVM_Task")
    assert server.probes == [LIMITS.look_s]
    assert clock.now - begin == LIMITS.look_s
    clock.now += LIMITS.look_every_s
    with pytest.raises(ConnectionLost):
        vigil.admit("CloneVM_Task")
    assert len(server.probes) == 2
    server.lives = True
    clock.now += LIMITS.look_every_s
    vigil.admit("CloneVM_Task")
    assert not vigil.is_away


def test_a_server_that_refuses_is_looked_at_each_time() -> None:
    clock = Clock()
    server = Server(clock, lives=False)
    server.is_refusing = True
    vigil = vigil_of(clock, server)
    given_up(clock, vigil)
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            vigil.admit("CurrentTime")
    server.lives = True
    vigil.admit("CurrentTime")
    assert len(server.probes) == 4


def test_what_nobody_tried_for_long_is_tried() -> None:
    clock = Clock()
    server = Server(clock, lives=False)
    vigil = vigil_of(clock, server)
    given_up(clock, vigil)
    clock.now += WINDOW_S + 1
    vigil.admit("CurrentTime")
    assert server.probes == []
