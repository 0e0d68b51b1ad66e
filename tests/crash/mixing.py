"""What each thread of a soak's client does again and again with instances of its own."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from tests.builders import a_uuid
from tests.crash import tracing
from tests.crash.deeds import DEEDS
from tests.crash.driver import Access
from vmops import VMwareVMOps
from vmops.errors import VMOpsError
from vmops.ops.volumes.made import WantedVolume

LIVES = (
    ("power off", "power on"),
    ("reboot",),
    ("suspend", "resume"),
    ("pause", "unpause"),
    ("snapshot",),
    ("migrate", "finish", "confirm"),
    ("migrate", "finish", "revert"),
    ("rescue", "unrescue"),
    ("attach interface", "detach interface"),
    ("volume",),
    ("list", "info"),
)
"""What can happen to an instance between its spawn and its end."""
MIB = 1024 * 1024


def run_mix(given: dict[str, Any], channel: socket.socket) -> None:
    """Threads on one session, for so many seconds; then how often what was done."""
    access = Access(**given["access"])
    counts: Counter[str] = Counter()
    end = time.monotonic() + given["seconds"]
    with access.connect() as session:
        ops = access.engine(session)
        threads = [
            threading.Thread(target=_live, args=(ops, number, end, counts))
            for number in range(given["threads"])
        ]
        for thread in threads:
            thread.start()
        if given["trace"]:
            tracing.trace(end)
        for thread in threads:
            thread.join()
    channel.send(json.dumps(dict(counts)).encode())


def _live(ops: VMwareVMOps, number: int, end: float, counts: Counter[str]) -> None:
    """One instance after the other."""
    luck = random.Random(number)
    while time.monotonic() < end:
        uuid = a_uuid()
        lives = luck.sample(LIVES, 4)
        try:
            image = luck.choice(("flat", "sparse", "streamOptimized"))
            linked = luck.random() < 0.7
            _do(ops, "spawn", uuid, {"image": image, "linked_clone": linked}, counts)
            for deed in (deed for life in lives for deed in life):
                _do(ops, deed, uuid, {}, counts)
        except Exception as error:  # noqa: BLE001 - counted, and shown in the table
            counts[f"failed: {type(error).__name__}: {error}"[:200]] += 1
        with suppress(VMOpsError):
            _do(ops, "destroy", uuid, {}, counts)


def _do(
    ops: VMwareVMOps, deed: str, uuid: str, extra: dict[str, Any], counts: Counter[str]
) -> None:
    if deed == "volume":
        _volume(ops, uuid)
    elif deed == "snapshot":
        name = f"made-{uuid}"
        ops.snapshot(None, uuid, name, lambda **_: None)
        ops._images.remove(name)
    else:
        DEEDS[deed](ops, uuid, extra)
    counts[deed] += 1


def _volume(ops: VMwareVMOps, uuid: str) -> None:
    name = f"soak-{uuid}"
    made = ops.create_volume(WantedVolume(name=name, size_bytes=4 * MIB))
    try:
        ops.attach_volume(None, made.volume, uuid)
        ops.detach_volume(None, made.volume, uuid)
    finally:
        ops.delete_volume(name)
