"""What the forked processes run: a lab, one operation of an engine, or the command."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vmops
from tests.crash import tracing
from tests.crash.deeds import DEEDS
from tests.crash.nursery import LARGEST
from tests.crash.survivors import SurvivingMachines
from vmops import DirectoryImageStore, EngineSettings, VMwareVMOps, errors
from vmops.lab import __main__ as lab_program
from vmops.lab import server
from vmops.lab.hypervisor.port import Hypervisor
from vmops.lab.machine.nfc_lease import HttpNfcLease
from vmops.lab.settings import LabSettings
from vmops.lab.storage.merging import LayerFiles
from vmops.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a process finds its endpoint and its images."""

    url: str
    username: str
    password: str = field(repr=False)
    thumbprint: str
    images: str
    datastore: str
    cache_folder: str
    timeout_s: float = 30.0

    def connect(self) -> Session:
        return vmops.connect(
            self.url,
            self.username,
            self.password,
            thumbprint=self.thumbprint,
            timeout_s=self.timeout_s,
        )

    def engine(self, session: Session) -> VMwareVMOps:
        settings = EngineSettings(datastore=self.datastore, cache_folder=self.cache_folder)
        return VMwareVMOps(
            session,
            images=DirectoryImageStore(Path(self.images)),
            config=settings,
            observe=lambda event: None,
        )

    def variables(self) -> dict[str, str]:
        """The environment of a command."""
        return {
            "VMOPS_URL": self.url,
            "VMOPS_USERNAME": self.username,
            "VMOPS_PASSWORD": self.password,
            "VMOPS_THUMBPRINT": self.thumbprint,
            "VMOPS_IMAGES": self.images,
            "VMOPS_DATASTORE": self.datastore,
        }


def run_lab(given: dict[str, Any], channel: socket.socket) -> None:
    """The lab of a command line, with leases that end ``lease_s`` after their reader.

    Without guests its machines outlive it, as guests do.
    """
    HttpNfcLease.timeout_s = given["lease_s"]
    if given["trace_s"]:
        tracing.trace_beside(given["trace_s"])
    with_guests = server.hypervisor_for

    def hypervisor_for(settings: LabSettings) -> Hypervisor:
        if settings.hypervisor != "none":
            return with_guests(settings)
        return SurvivingMachines(LayerFiles(), settings.state_dir / "machines.pickle")

    server.hypervisor_for = hypervisor_for
    sys.argv = ["vmops.lab", *given["arguments"]]
    # It sees the other end closed, should it look; it has nothing to say.
    del channel
    sys.exit(lab_program.main())


def run_client(given: dict[str, Any], channel: socket.socket) -> None:
    """Deeds, one after the other as they are told; how each ended is told back."""
    access = Access(**given["access"])
    with access.connect() as session:
        session.inventory.wait_fresh()
        ops = access.engine(session)
        channel.send(json.dumps("ready").encode())
        while message := channel.recv(LARGEST):
            asked = json.loads(message)
            outcome = _done(ops, asked["deed"], asked["uuid"], asked["extra"])
            channel.send(json.dumps(outcome).encode())


def _done(ops: VMwareVMOps, deed: str, uuid: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Do it; how it ended."""
    begin = time.monotonic()
    outcome: dict[str, Any] = {"error": "", "text": "", "notes": []}
    try:
        DEEDS[deed](ops, uuid, extra)
    except Exception as error:  # noqa: BLE001 - told to the harness
        outcome = {
            "error": type(error).__name__,
            "typed": isinstance(error, errors.VMOpsError),
            "refused": isinstance(error, (errors.Conflict, errors.NotFound)),
            "text": str(error),
            "notes": list(getattr(error, "__notes__", [])),
        }
        if not outcome["typed"]:
            traceback.print_exc()
    return {**outcome, "seconds": time.monotonic() - begin}


def run_command(given: dict[str, Any], channel: socket.socket) -> None:
    """``vmops`` with these arguments; its exit code and what it printed are told."""
    from vmops.cli.main import main  # noqa: PLC0415 - loaded before the fork

    for name in [name for name in os.environ if name.startswith(("VMOPS_", "GOVC_"))]:
        if name != "VMOPS_TEST_SESSION":
            del os.environ[name]
    os.environ.update(given["variables"], VMOPS_STATE_DIR=given["state_dir"], NO_COLOR="1")
    sys.argv = ["vmops", *given["arguments"]]
    code = 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as leave:
            code = int(leave.code or 0)
    told = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    channel.send(json.dumps(told).encode())
