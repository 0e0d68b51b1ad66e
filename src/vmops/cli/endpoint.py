"""Which endpoint a command talks to, and where each setting comes from.

An option wins over ``VMOPS_*``, which wins over ``GOVC_*``. Without a URL the lab is used.
Passwords come from the environment, from a file, from the lab's state folder or from a prompt;
never from the command line, where other users could read them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from vmops.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it was found; a secret is never shown."""

    value: str
    origin: str
    secret: bool = False

    @property
    def shown(self) -> str:
        """The value as people may see it."""
        return "(set)" if self.secret else self.value


# setting -> environment variables, the first that is set wins
VARIABLES: dict[str, tuple[str, ...]] = {
    "url": ("VMOPS_URL", "GOVC_URL"),
    "username": ("VMOPS_USERNAME", "GOVC_USERNAME"),
    "password": ("VMOPS_PASSWORD", "GOVC_PASSWORD"),
    "password_file": ("VMOPS_PASSWORD_FILE",),
    "ca_file": ("VMOPS_CA_FILE", "GOVC_TLS_CA_CERTS"),
    "thumbprint": ("VMOPS_THUMBPRINT",),
    "known_hosts": ("GOVC_TLS_KNOWN_HOSTS",),
    "insecure": ("VMOPS_INSECURE", "GOVC_INSECURE"),
    "cluster": ("VMOPS_CLUSTER", "GOVC_CLUSTER"),
    "datastore": ("VMOPS_DATASTORE", "GOVC_DATASTORE"),
    "network": ("VMOPS_NETWORK", "GOVC_NETWORK"),
    "images": ("VMOPS_IMAGES",),
    "state_dir": ("VMOPS_STATE_DIR",),
}
_SECRET = {"password"}
_LONGEST_PASSWORD = 4096
"""Bytes; a file that has more is not one of a password."""


def state_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's state folder: VMOPS_STATE_DIR, or vmops in XDG_STATE_HOME (~/.local/state)."""
    if own := environment.get("VMOPS_STATE_DIR"):
        return expanded(own, "VMOPS_STATE_DIR")
    base = environment.get("XDG_STATE_HOME") or "~/.local/state"
    return expanded(base, "XDG_STATE_HOME") / "vmops"


def expanded(text: str, origin: str) -> Path:
    """A path as people write it, with ``~`` for a home: of a variable no shell has expanded it.

    Raises:
        InvalidArgument: there is no such user, or it is no path at all.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise InvalidArgument(f"{origin}: {text} names the home of an unknown user.") from None
    if "\0" in text:
        raise InvalidArgument(f"{origin}: a path cannot have a NUL in it.")
    return path


def find_settings(
    options: Mapping[str, object], environment: Mapping[str, str] = os.environ
) -> dict[str, Setting]:
    """The settings that are there, each with its origin.

    Raises:
        InvalidArgument: the URL makes no sense, a file named does not exist, or a password file
            may be read by others.
    """
    found: dict[str, Setting] = {}
    for name, variables in VARIABLES.items():
        option = options.get(name)
        if option is not None:
            found[name] = Setting(str(option), f"--{name.replace('_', '-')}", name in _SECRET)
            continue
        for variable in variables:
            if environment.get(variable):
                found[name] = Setting(environment[variable], variable, name in _SECRET)
                break
    _split_url(found)
    if "password" not in found and "password_file" in found:
        file = expanded(found["password_file"].value, found["password_file"].origin)
        found["password"] = Setting(_read_password(file), str(file), secret=True)
    _check_ca_file(found)
    _look_up_known_host(found)
    return found


def _split_url(found: dict[str, Setting]) -> None:
    """Take user and password out of the URL, as govc's users write them there."""
    if "url" not in found:
        return
    text, origin = found["url"].value, found["url"].origin
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        raise InvalidArgument(f"{origin} is not a URL such as https://host/sdk.") from None
    if parts.scheme != "https" or not host:
        raise InvalidArgument(f"{origin} must look like https://host/sdk.")
    if parts.password and origin == "--url":
        raise InvalidArgument(
            "A password on the command line can be read by others; use VMOPS_PASSWORD."
        )
    if parts.username:
        found.setdefault("username", Setting(unquote(parts.username), origin))
    if parts.password:
        found.setdefault("password", Setting(unquote(parts.password), origin, secret=True))
    host = f"[{host}]" if ":" in host else host
    clean = urlunsplit(("https", f"{host}{port}", parts.path or "/sdk", "", ""))
    found["url"] = Setting(clean, origin)


def _read_password(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(_LONGEST_PASSWORD + 1)
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as failure:
        raise InvalidArgument(f"The password file {file}: {failure.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"The password file {file} is not UTF-8 text.") from None
    if stat.S_IMODE(mode) & 0o077:
        raise InvalidArgument(f"The password file {file} may be read by others: chmod 600 {file}")
    if len(content) > _LONGEST_PASSWORD or "\n" in text:
        raise InvalidArgument(f"The password file {file} is to have one line, the password.")
    return text


def _check_ca_file(found: dict[str, Setting]) -> None:
    """A wrong name is found here, not in the middle of a TLS handshake; govc's may be a list."""
    if "ca_file" not in found:
        return
    origin = found["ca_file"].origin
    files = [one for one in found["ca_file"].value.split(os.pathsep) if one]
    if len(files) != 1:
        raise InvalidArgument(f"{origin} names {len(files)} files: put the certificates into one.")
    file = expanded(files[0], origin)
    if not file.is_file():
        raise InvalidArgument(f"{origin}: there is no file {files[0]}.")
    found["ca_file"] = Setting(str(file), origin)


def _look_up_known_host(found: dict[str, Setting]) -> None:
    """Govc's known hosts: lines of "host[:port] thumbprint", of which only SHA-256 ones count."""
    if "known_hosts" not in found or "thumbprint" in found or "url" not in found:
        return
    file = expanded(found["known_hosts"].value, found["known_hosts"].origin)
    host = urlsplit(found["url"].value).netloc
    try:
        # Names and thumbprints are ASCII; a comment in the file may be anything.
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, thumbprint = line.partition(" ")
        if name in {host, f"{host}:443"} and len(thumbprint.replace(":", "").strip()) == 64:
            found["thumbprint"] = Setting(thumbprint.strip(), str(file))
