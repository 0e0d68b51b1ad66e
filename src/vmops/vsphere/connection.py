"""`connect` logs in at a vCenter or ESXi and gives a session."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vmops.errors import InvalidArgument
from vmops.vsphere.wire.address import ServerAddress
from vmops.vsphere.wire.limits import Limits
from vmops.vsphere.wire.secret import Secret
from vmops.vsphere.wire.trust import Trust, parse_thumbprint

if TYPE_CHECKING:
    from vmops.vsphere.session import Session

DEFAULT_TIMEOUT_S = Limits().answer_s

log = logging.getLogger(__name__)
_warned: set[str] = set()
"""The servers that were told of already."""


def connect(  # noqa: PLR0913 - the way in: each is a choice of its own
    url: str,
    username: str | None = None,
    password: str = "",
    *,
    ca_file: str | Path | None = None,
    thumbprint: str | None = None,
    insecure: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    limits: Limits | None = None,
    planning: bool = False,
) -> Session:
    """Log in at a vCenter or an ESXi; use the session in a ``with``, or call its ``close``.

    Args:
        url: "https://host[:port][/sdk]" or "host", optionally with a user name ("user@host").
        username: who logs in; None takes the URL's.
        password: is kept in memory for the one login again after an expired session.
        ca_file: PEM file of the authorities that may have signed the server's certificate.
        thumbprint: SHA-256 thumbprint of the one certificate that is accepted instead.
        insecure: accept any certificate; a warning in the log says so, once for each server.
        timeout_s: how long an answer may take to its last byte, in seconds. Waiting for tasks is
            not limited by it, nor are transfers. A server that answers nobody is given up sooner.
        limits: when a silent server is given up, in all else; None: as `Limits` says.
        planning: a session that changes nothing and records what it would have sent, in its
            ``plan``; see `vmops.vsphere.planning.session`.

    Raises:
        InvalidArgument: the URL or the thumbprint is malformed, or there is no user name.
        CertificateRefused: the certificate is not trusted; the message says how to trust it.
        ConnectionLost: the server cannot be reached.
        InvalidLogin: user name or password is wrong.
        Unavailable: something answers, but not as vSphere does.
    """
    # From here on no frame has the password as a text: some show tracebacks with variables.
    secret = Secret(password)
    del password
    address = ServerAddress.parse(url)
    user = username or address.username
    if not user:
        raise InvalidArgument("There is no user name to log in with.")
    if insecure and not thumbprint:
        _warn_once(address.netloc)
    trust = Trust(
        ca_file=Path(ca_file) if ca_file else None,
        thumbprint=parse_thumbprint(thumbprint) if thumbprint else "",
        insecure=insecure,
    )
    # pyVmomi takes a tenth of a second to import: not before somebody connects.
    kind: type[Session]
    if planning:
        from vmops.vsphere.planning.session import PlanningSession as kind  # noqa: N813, PLC0415
    else:
        from vmops.vsphere.session import Session as kind  # noqa: N813, PLC0415
    silence = replace(limits or Limits(), answer_s=timeout_s)
    return kind.open(address, trust, user, secret, limits=silence)


def _warn_once(netloc: str) -> None:
    if netloc not in _warned:
        _warned.add(netloc)
        log.warning(
            "The certificate of %s is not checked: whoever sits in between reads the password."
            " Pin it instead (--thumbprint), or name its authority (--ca-file).",
            netloc,
        )
