"""What a program that we start gets of our environment: what it needs to run, and no secret.

Passwords and URLs come in variables. A tool that an image could trick, or that writes its
environment into a crash report, must not have them; so what is passed on is listed, not what is
left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "XDG_RUNTIME_DIR"),
    *("LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    "VMOPS_TEST_SESSION",  # the mark by which tests find what they have left running
)
_OF_PYTHON = ("PYTHON", "COVERAGE", "VIRTUAL_ENV")
_OF_DOWNLOADS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def tool_environment(**more: str) -> dict[str, str]:
    """For a tool of the system; its messages are in English."""
    return {**_passed_on(os.environ), "LC_ALL": "C.UTF-8", **more}


def downloader_environment(**more: str) -> dict[str, str]:
    """The same for a program that fetches something: it has to know the way out."""
    ways = {name: os.environ[name] for name in _OF_DOWNLOADS if name in os.environ}
    return tool_environment(**ways, **more)


def python_environment(**more: str) -> dict[str, str]:
    """For a Python of our own, which is to speak as we do."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_OF_PYTHON) or name in {"LANG", "LANGUAGE"} or name.startswith("LC_")
    }
    return {**_passed_on(os.environ), **own, **more}


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in _PASSED_ON if name in environment}
