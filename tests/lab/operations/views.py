"""The hypervisor's own view of a machine, and ways to make it fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.client import Client
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.null import NullHypervisor
from vmops.lab.hypervisor.port import GuestDefinition
from vmops.lab.kernel.kernel import Kernel


def guests(kernel: Kernel) -> dict[str, GuestDefinition]:
    """What runs in a lab without guests, by the machines' keys."""
    assert isinstance(kernel.hypervisor, NullHypervisor)
    return kernel.hypervisor._running


def machine(client: Client, vm: Any) -> GuestDefinition:
    """What runs, as the hypervisor has it."""

    async def look(kernel: Kernel) -> GuestDefinition:
        return guests(kernel)[vm._moId]

    return client.lab.on_loop(look)


def broken(client: Client, monkeypatch: pytest.MonkeyPatch, method: str, after: int = 0) -> None:
    """Let the hypervisor's method fail once, after it was called ``after`` times."""
    hypervisor = client.lab.kernel.hypervisor
    real, calls = getattr(hypervisor, method), []

    async def fail(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == after + 1:
            raise HypervisorError("the cable is cut")
        return await real(*arguments, **named)

    monkeypatch.setattr(hypervisor, method, fail)
