from __future__ import annotations

import pytest

from vmops.errors import InvalidArgument
from vmops.vsphere.wire.address import ServerAddress


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("vc.example.com", ServerAddress("vc.example.com", 443, "/sdk", "")),
        ("https://vc.example.com", ServerAddress("vc.example.com", 443, "/sdk", "")),
        ("https://vc.example.com/sdk", ServerAddress("vc.example.com", 443, "/sdk", "")),
        ("https://vc:8443/sdk/", ServerAddress("vc", 8443, "/sdk", "")),
        ("https://127.0.0.1:40941", ServerAddress("127.0.0.1", 40941, "/sdk", "")),
        ("root@esx1", ServerAddress("esx1", 443, "/sdk", "root")),
        (
            "https://administrator%40vsphere.local@vc/sdk",
            ServerAddress("vc", 443, "/sdk", "administrator@vsphere.local"),
        ),
        ("https://[::1]:8443/sdk", ServerAddress("::1", 8443, "/sdk", "")),
        ("  vc  ", ServerAddress("vc", 443, "/sdk", "")),
    ],
)
def test_reads_the_forms_that_people_write(url: str, expected: ServerAddress) -> None:
    assert ServerAddress.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "https://", "http://vc/sdk", "ftp://vc", "https://vc:port/sdk", "https://vc:99999", "a b"],
)
def test_refuses_what_names_no_server(url: str) -> None:
    with pytest.raises(InvalidArgument):
        ServerAddress.parse(url)


def test_refuses_a_password_without_repeating_it() -> None:
    with pytest.raises(InvalidArgument) as refused:
        ServerAddress.parse("https://root:hunter2@esx1/sdk")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "netloc"),
    [
        (ServerAddress("vc"), "vc"),
        (ServerAddress("vc", 8443), "vc:8443"),
        (ServerAddress("::1"), "[::1]"),
        (ServerAddress("::1", 8443), "[::1]:8443"),
    ],
)
def test_netloc_is_the_form_of_urls(address: ServerAddress, netloc: str) -> None:
    assert address.netloc == netloc
    assert address.url == f"https://{netloc}/sdk"
