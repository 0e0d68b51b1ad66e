"""What guests send, from what is right to what is hostile."""

from __future__ import annotations

import base64
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.lab.hypervisor.tools import GuestNic
from vmops.lab.qemu.tools_protocol import (
    LARGEST_GUEST_VALUE_BYTES,
    LONGEST_LINE_BYTES,
    Beat,
    Bye,
    Done,
    Failed,
    Hello,
    HostName,
    InfoGet,
    InfoSet,
    LineSplitter,
    Message,
    Nics,
    parse,
    refusal,
    value_answer,
)

MAC = "52:54:00:12:34:56"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello 1 2.10", Hello(1, "2.10")),
        ("beat", Beat()),
        ("bye", Bye()),
        ("host-name web-1.example.org", HostName("web-1.example.org")),
        ("nics", Nics(())),
        (
            f"nics eth0,{MAC},10.0.2.15/24,fe80::1/64 eth1.5,{MAC}",
            Nics(
                (
                    GuestNic(
                        name="eth0",
                        mac_address=MAC,
                        addresses=(ip_interface("10.0.2.15/24"), ip_interface("fe80::1/64")),
                    ),
                    GuestNic(name="eth1.5", mac_address=MAC),
                )
            ),
        ),
        ("info-get 7 guestinfo.a", InfoGet(7, "guestinfo.a")),
        ("info-set 7 guestinfo.a_B-9.c w6k=", InfoSet(7, "guestinfo.a_B-9.c", "é")),
        ("info-set 7 guestinfo.a -", InfoSet(7, "guestinfo.a", "")),
        ("done 12", Done(12)),
        ("failed 12 filesystem it is busy", Failed(12, "filesystem", "it is busy")),
        ("failed 12 application", Failed(12, "application", "it gives no reason")),
    ],
)
def test_what_means_something(line: str, message: Message) -> None:
    assert parse(line.encode()) == message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Beat",
        "beat now",
        " beat",
        "beat\r",
        "hello 1",
        "hello 1 1; rm",
        "hello -1 1",
        "host-name",
        "host-name a b",
        "host-name <b>",
        "host-name " + "a" * 254,
        "nics eth0",
        "nics  ",
        f"nics ../etc,{MAC}",
        f"nics eth0,{MAC},10.0.2.15/33",
        f"nics eth0,{MAC},fe80::1%eth0/64",
        "nics eth0,52:54:00:12:34",
        "nics" + f" eth0,{MAC}" * 33,
        f"nics eth0,{MAC}" + ",10.0.0.1/8" * 33,
        "info-get 1 vmops.operation",
        "info-get 1 guestinfo.",
        "info-get 1 guestinfo.a\x00",
        "info-get 99999999999 guestinfo.a",
        "info-set 1 machine.id eA==",
        "info-set 1 guestinfo.a",
        "info-set 1 guestinfo.a not*base64",
        "info-set 1 guestinfo.a /w==",  # no UTF-8
        "info-set 1 guestinfo.a AA==",  # a NUL, which no client could be shown
        "done x",
        "done",
        "failed 1 other",
        "shutdown 1",
    ],
)
def test_what_means_nothing(line: str) -> None:
    assert parse(line.encode()) is None


def test_a_value_has_a_largest_size() -> None:
    for size, is_taken in (
        (LARGEST_GUEST_VALUE_BYTES, True),
        (LARGEST_GUEST_VALUE_BYTES + 1, False),
    ):
        line = b"info-set 1 guestinfo.a " + base64.b64encode(b"x" * size)
        assert (parse(line) is not None) is is_taken


@given(st.binary(max_size=200))
def test_no_line_does_harm(line: bytes) -> None:
    parse(line)


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 20)))
def test_lines_come_out_however_they_come_in(lines: list[bytes], cuts: list[int]) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found = LineSplitter(), []
    for cut in cuts:
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    found += splitter.feed(stream)
    assert found == [line for line in lines if line]


def test_a_line_that_never_ends_is_not_kept() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * LONGEST_LINE_BYTES) == []
        assert len(splitter._rest) <= LONGEST_LINE_BYTES
    assert splitter.feed(b"x\nbeat\n") == [b"beat"]
    assert splitter.feed(b"y" * (LONGEST_LINE_BYTES + 1) + b"\nbeat\n") == [b"beat"]
    assert splitter.feed(b"z" * LONGEST_LINE_BYTES + b"\n") == [b"z" * LONGEST_LINE_BYTES]


def test_what_the_lab_answers_is_one_line() -> None:
    assert value_answer(3, None) == b"none 3\n"
    assert value_answer(3, "") == b"value 3 -\n"
    assert value_answer(3, "x" * (64 * 1024 + 1)).startswith(b"refused 3 it is too large")
    assert value_answer(3, "a\nb") == b"value 3 YQpi\n"
    assert refusal(3, "no\nway é") == b"refused 3 no way ?\n"
