"""How a process of a test's own finds the lab: by its environment, which no process list shows."""

from __future__ import annotations

import os

import vmops
from vmops.lab import Lab
from vmops.vsphere.session import Session


def environment(lab: Lab) -> dict[str, str]:
    """What the process is given."""
    return os.environ | {
        "VMOPS_TEST_URL": lab.url,
        "VMOPS_TEST_USERNAME": lab.username,
        "VMOPS_TEST_PASSWORD": lab.password,
        "VMOPS_TEST_THUMBPRINT": lab.thumbprint,
    }


def connect() -> Session:
    """The session that the process works on."""
    return vmops.connect(
        os.environ["VMOPS_TEST_URL"],
        os.environ["VMOPS_TEST_USERNAME"],
        os.environ["VMOPS_TEST_PASSWORD"],
        thumbprint=os.environ["VMOPS_TEST_THUMBPRINT"],
    )
