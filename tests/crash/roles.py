"""What a forked process can be."""

from __future__ import annotations

from tests.crash import driver, mixing

ROLES = {
    "lab": driver.run_lab,
    "client": driver.run_client,
    "command": driver.run_command,
    "mix": mixing.run_mix,
}
