"""Where settings come from, and which of two wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vmops.cli.endpoint import find_settings, state_dir
from vmops.errors import InvalidArgument


def values(options: dict[str, Any] | None = None, /, **environment: str) -> dict[str, Any]:
    return {name: one.value for name, one in find_settings(options or {}, environment).items()}


def test_an_option_wins_over_ours_and_ours_over_govcs() -> None:
    govc = {"GOVC_URL": "https://c"}
    assert values(**govc)["url"] == "https://c/sdk"
    assert values(VMOPS_URL="https://b", **govc)["url"] == "https://b/sdk"
    assert values({"url": "https://a"}, VMOPS_URL="https://b", **govc)["url"] == "https://a/sdk"


@pytest.mark.parametrize(
    ("text", "url", "username", "password"),
    [
        ("vcenter", "https://vcenter/sdk", None, None),
        ("vcenter:8443", "https://vcenter:8443/sdk", None, None),
        ("https://vcenter/sdk", "https://vcenter/sdk", None, None),
        ("https://[::1]:8443/sdk", "https://[::1]:8443/sdk", None, None),
        ("root:p%40ss@esx", "https://esx/sdk", "root", "p@ss"),
        ("https://a%5Cb@vc/other", "https://vc/other", "a\\b", None),
    ],
)
def test_govcs_forms_of_a_url(
    text: str, url: str, username: str | None, password: str | None
) -> None:
    found = values(GOVC_URL=text)
    assert found["url"] == url
    assert found.get("username") == username
    assert found.get("password") == password


def test_a_variable_of_its_own_wins_over_the_urls_user() -> None:
    found = values(GOVC_URL="root:one@esx", GOVC_USERNAME="admin", GOVC_PASSWORD="two")
    assert (found["username"], found["password"]) == ("admin", "two")


@pytest.mark.parametrize(
    "url", ["http://host", "https://", "https://h:port", "ftp://h", "https://["]
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        values(VMOPS_URL=url.replace("://", "://u:canary@", 1))
    assert "canary" not in str(refused.value)
    assert str(refused.value).startswith("VMOPS_URL ")


def test_a_password_is_never_shown() -> None:
    found = find_settings({}, {"VMOPS_URL": "https://u:canary@h"})
    assert found["password"].value == "canary"
    assert "canary" not in "".join(one.shown for one in found.values())


def test_a_list_of_certificate_files_is_refused(tmp_path: Path) -> None:
    one = tmp_path / "one.pem"
    one.touch()
    assert values(GOVC_TLS_CA_CERTS=f"{one}:")["ca_file"] == str(one)
    with pytest.raises(InvalidArgument, match="names 2 files"):
        values(GOVC_TLS_CA_CERTS=f"{one}:{one}")


def test_only_sha256_thumbprints_of_known_hosts_count(tmp_path: Path) -> None:
    sha256, sha1 = ":".join(["AB"] * 32), ":".join(["CD"] * 20)
    known = tmp_path / "known_hosts"
    known.write_text(f"other:443 {sha1}\nvc:443 {sha256}\nold:443 {sha1}\n")
    host = {"GOVC_TLS_KNOWN_HOSTS": str(known)}
    assert values(GOVC_URL="vc", **host)["thumbprint"] == sha256
    assert "thumbprint" not in values(GOVC_URL="old", **host)


PATHS = {
    "VMOPS_PASSWORD_FILE": "password",
    "VMOPS_CA_FILE": "ca_file",
    "GOVC_TLS_CA_CERTS": "ca_file",
    "GOVC_TLS_KNOWN_HOSTS": "thumbprint",
}


@pytest.mark.parametrize("variable", PATHS)
def test_a_tilde_in_a_variable_is_the_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    thumbprint = ":".join(["AB"] * 32)
    file = tmp_path / "a file"
    file.write_text(f"vc {thumbprint}\n")
    file.chmod(0o600)
    found = values(VMOPS_URL="vc", **{variable: "~/a file"})
    shown = {"ca_file": str(file), "thumbprint": thumbprint, "password": f"vc {thumbprint}"}
    assert found[PATHS[variable]] == shown[PATHS[variable]]
    for wrong in ("~no-such-user/x", "a\0b"):
        with pytest.raises(InvalidArgument, match=f"{variable}"):
            values(VMOPS_URL="vc", **{variable: wrong})


@pytest.mark.parametrize("variable", ["VMOPS_STATE_DIR", "XDG_STATE_HOME"])
def test_a_tilde_in_the_state_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_dir({variable: "~/state"}).is_relative_to(tmp_path / "state")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"p\xe4ssword\n", "is not UTF-8 text"),
        (b"\xff\xfep\0", "is not UTF-8 text"),
        (b"one\ntwo\n", "is to have one line"),
        (b"x" * 100_000, "is to have one line"),
    ],
    ids=["latin-1", "utf-16", "two lines", "long"],
)
def test_a_password_file_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(InvalidArgument, match=said) as refused:
        values(VMOPS_PASSWORD_FILE=str(file))
    assert "ssword\n" not in str(refused.value)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_ends_with_its_line(tmp_path: Path, end: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(f" canary {end}".encode())
    file.chmod(0o600)
    assert values(VMOPS_PASSWORD_FILE=str(file))["password"] == " canary "


def test_known_hosts_of_another_encoding_are_read(tmp_path: Path) -> None:
    known, thumbprint = tmp_path / "known_hosts", ":".join(["AB"] * 32)
    known.write_bytes(b"# f\xfcr alle\nvc " + thumbprint.encode() + b"\n")
    assert values(VMOPS_URL="vc", GOVC_TLS_KNOWN_HOSTS=str(known))["thumbprint"] == thumbprint


def test_the_state_folder(tmp_path: Path) -> None:
    assert state_dir({"VMOPS_STATE_DIR": str(tmp_path)}) == tmp_path
    assert state_dir({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "vmops"
    assert state_dir({}).parts[-3:] == (".local", "state", "vmops")
