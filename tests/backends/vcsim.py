"""The govmomi simulator as a back end of tests: the referee that this project did not write.

It is built once from Debian's package and kept in `.build`, where a change of its source or of the
package makes a new one.
What it cannot show, with the 0.24.2 of Debian 12:

* tasks run before the call that starts them returns, so nothing ever waits for one;
* `WaitForUpdatesEx` knows no versions and says nothing of a reconfigured memory, CPU or name;
* `/folder` asks for no login, keeps truncated uploads and deletes nothing on DELETE;
* disks have no bytes: a flat file is empty, a clone, a snapshot or an import copies nothing;
* there are no consoles and no screenshots.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import ssl
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "tests/vcsim/main.go"
BUILD = PROJECT / ".build"
GOCODE = Path("/usr/share/gocode")
PACKAGES = ("golang-go", "golang-github-vmware-govmomi-dev")


def missing() -> str | None:
    """Say what this machine lacks to build the simulator, or None."""
    lacking = []
    if not shutil.which("go"):
        lacking.append(PACKAGES[0])
    if not (GOCODE / "src/github.com/vmware/govmomi/simulator").is_dir():
        lacking.append(PACKAGES[1])
    return f"vcsim needs: apt-get install {' '.join(lacking)}" if lacking else None


def build() -> Path:
    """Return the simulator's program, built if it has to be (half a minute on two cores)."""
    program = BUILD / "vcsim" / fingerprint() / "vcsim"
    with locked(BUILD / "vcsim.lock"):
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            unfinished = program.with_suffix(".new")
            options = ["-trimpath", "-ldflags=-s -w", "-o", str(unfinished)]
            subprocess.run(["go", "build", *options, str(SOURCE)], env=go_environment(), check=True)
            unfinished.rename(program)
    return program


def fingerprint() -> str:
    """Return what a built program depends on, in twelve letters."""
    # Go may have come without Debian's package.
    go = subprocess.run(["go", "version"], stdout=subprocess.PIPE, check=True).stdout
    show = ["dpkg-query", "--show", PACKAGES[1]]
    govmomi = subprocess.run(show, stdout=subprocess.PIPE, check=True).stdout
    return hashlib.sha256(SOURCE.read_bytes() + go + govmomi).hexdigest()[:12]


def go_environment() -> dict[str, str]:
    """Return an environment in which Go builds from Debian's sources and writes in `.build`."""
    settings = {
        "GO111MODULE": "off",
        "GOPATH": str(GOCODE),
        "GOCACHE": str(BUILD / "go-cache"),
        "GOENV": "off",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    return os.environ | settings


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that other test processes respect: one of them builds, the others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Vcsim:
    """A running simulator with an empty inventory: no VM, two datastores, one cluster.

    vCenter: datacenter `DC0`, cluster `DC0_C0`, hosts `DC0_C0_H0` and on, switch `DVS0` with port
    group `DC0_DVPG0`, datastores `LocalDS_0` and on. ESXi: `ha-datacenter` with the datastores.

    Attributes:
        url: the SDK's address, `https://127.0.0.1:PORT/sdk`.
        username: the one who may log in.
        password: made anew by each simulator.
        certificate: the server's, in PEM, to trust as a CA; it names 127.0.0.1 and localhost.
        thumbprint: SHA-256 of the certificate, hexadecimal in pairs with colons between.
        esx: whether it plays a single ESXi.
    """

    def __init__(self, *, esx: bool = False, hosts: int = 2, datastores: int = 2) -> None:
        self.esx = esx
        flags = [f"-esx={str(esx).lower()}", f"-hosts={hosts}", f"-datastores={datastores}"]
        self._process = subprocess.Popen(
            [build(), *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"vcsim ended with {self._process.returncode} before it served")
        said = json.loads(line)
        self.url: str = said["url"]
        self.username: str = said["username"]
        self.password: str = said["password"]
        self.certificate: str = said["certificate"]
        self._datastores: dict[str, str] = said["datastores"]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def thumbprint(self) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.certificate)
        return hashlib.sha256(der).digest().hex(":").upper()

    @property
    def datastores(self) -> list[str]:
        return sorted(self._datastores)

    def datastore_root(self, name: str) -> Path:
        """Return the directory that holds the files of a datastore; KeyError if there is none."""
        return Path(self._datastores[name])

    def close(self) -> None:
        """End the simulator and remove its datastores; a second call does nothing."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
