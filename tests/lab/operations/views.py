"""The hypervisor's own view of a machine, and ways to make it fail."""

from __future__ import annotations

from vmops.lab.hypervisor.errors import HypervisorError


def machine(client, vm):
    """What runs, as the hypervisor has it."""

    async def look(kernel):
        return kernel.hypervisor._running[vm._moId]

    return client.lab.on_loop(look)


def broken(client, monkeypatch, method, after=0):
    """Let the hypervisor's method fail once, after it was called ``after`` times."""
    hypervisor = client.lab.kernel.hypervisor
    real, calls = getattr(hypervisor, method), []

    async def fail(*arguments, **named):
        calls.append(arguments)
        if len(calls) == after + 1:
            raise HypervisorError("the cable is cut")
        return await real(*arguments, **named)

    monkeypatch.setattr(hypervisor, method, fail)
