"""Which MAC addresses are refused before anything is made."""

from __future__ import annotations

import pytest

from vmops.errors import InvalidArgument
from vmops.model.mac_address import check_given


@pytest.mark.parametrize(
    "mac", ["fa:16:3e:00:00:01", "00:50:56:00:00:00", "00:50:56:3f:ff:ff", "02:00:00:00:00:01", ""]
)
def test_what_a_nic_can_be_given(mac: str) -> None:
    check_given([mac, "", ""])


@pytest.mark.parametrize(
    ("mac", "said"),
    [
        ("00:00:00:00:00:00", "all zeros"),
        ("ff:ff:ff:ff:ff:ff", "of a group"),
        ("01:00:5e:00:00:01", "of a group"),
        ("33:33:00:00:00:01", "of a group"),
        ("00:50:56:40:00:00", "gives out"),
        ("00:50:56:80:00:01", "gives out"),
        ("00:50:56:FF:ff:ff", "gives out"),
    ],
)
def test_what_it_cannot(mac: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        check_given(["fa:16:3e:00:00:01", mac])


def test_two_nics_with_one_address() -> None:
    with pytest.raises(InvalidArgument, match="fa:16:3e:00:00:01"):
        check_given(["fa:16:3e:00:00:01", "", "FA:16:3e:00:00:01"])
