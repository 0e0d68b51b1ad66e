"""Whatever an instance is called, its guest gets a host name that is one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.model.host_name import guest_host_name

UUID = "0d4e1f6a-7a51-4b1e-8f3d-3c2f5a9f0b11"
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*")


@pytest.mark.parametrize(
    ("name", "host_name"),
    [
        ("web-1", "web-1"),
        ("My VM_1.", "my-vm-1"),
        ("web1.example.com", "web1.example.com"),
        ("..a..b..", "a.b"),
        ("-x-", "x"),
        ("a--b", "a-b"),
        ("Wéb Größe", "web-groe"),
        ("日本", f"server-{UUID}"),
        ("", f"server-{UUID}"),
        ("$(reboot)", "reboot"),
        ("a\nb\x1b[31m", "a-b31m"),
        ("x" * 80, "x" * 63),
        ("-" * 200, f"server-{UUID}"),
    ],
)
def test_a_name_becomes_a_host_name(name: str, host_name: str) -> None:
    assert guest_host_name(name, UUID) == host_name


@given(st.text(max_size=300))
def test_any_name_becomes_one(name: str) -> None:
    assert HOST_NAME.fullmatch(guest_host_name(name, UUID))


@given(st.from_regex(r"[a-z0-9]{1,20}(-[a-z0-9]{1,10}){0,2}(\.[a-z]{2,8}){0,2}", fullmatch=True))
def test_what_is_one_stays(name: str) -> None:
    assert guest_host_name(name, UUID) == name
