"""What every command has at hand: settings, a session, the engine, an observer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmops.cli import endpoint
from vmops.cli.endpoint import Setting, expanded
from vmops.cli.terminal import VisibleFormatter, say
from vmops.errors import InvalidLogin

if TYPE_CHECKING:
    from vmops.images.directory_store import DirectoryImageStore
    from vmops.ops.vmops.vmops import VMwareVMOps
    from vmops.vsphere.planning.plan import Plan
    from vmops.vsphere.session import Session


_TRUE = {"1", "true", "yes", "on"}
_INSECURE = (
    "Warning: the server's certificate is not checked (--insecure): whoever sits in between reads"
    " the password. Pin it instead with --thumbprint, or name its authority with --ca-file."
)


class CommandContext:
    """Made once for a command; everything in it is made when it is first used."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self.options = dict(options)
        self._closers: list[Callable[[], None]] = []
        self._is_planning = False
        set_up_logging(int(str(options.get("verbose") or 0)))

    def override(self, name: str, value: object) -> None:
        """Take an option that stood behind the command; settings were not looked at yet."""
        if name == "verbose":
            value = int(str(self.options.get(name) or 0)) + int(str(value))
            set_up_logging(value)
        self.options[name] = value

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The settings and where each was found."""
        return endpoint.find_settings(self.options)

    def setting(self, name: str) -> str | None:
        """What a setting has by option, environment or default."""
        found = self.settings.get(name)
        return found.value if found else None

    @cached_property
    def state_dir(self) -> Path:
        """The user's state folder."""
        return endpoint.state_dir()

    @property
    def uses_lab(self) -> bool:
        """Whether no URL was given, so that the lab is meant."""
        return "url" not in self.settings

    def start_planning(self) -> None:
        """Let the session, which was not used yet, be one that changes nothing."""
        self._is_planning = True

    @property
    def plan(self) -> Plan:
        """What the session that changes nothing has recorded."""
        from vmops.vsphere.planning.session import PlanningSession  # noqa: PLC0415

        assert isinstance(self.session, PlanningSession)  # noqa: S101 - tells the type checker
        return self.session.plan

    @cached_property
    def session(self) -> Session:
        """A session with the endpoint; the lab is started first if it is meant and does not run."""
        from vmops.vsphere.connection import connect  # noqa: PLC0415

        if self.uses_lab:
            from vmops.cli.lab_endpoint import running_lab  # noqa: PLC0415

            lab = running_lab(self.state_dir)
            session = connect(
                lab.url,
                lab.user_name,
                lab.password,
                thumbprint=lab.thumbprint,
                planning=self._is_planning,
            )
        else:
            insecure = (self.setting("insecure") or "").lower() in _TRUE
            if insecure and not self.setting("thumbprint"):
                say(_INSECURE, err=True)
            session = connect(
                self.settings["url"].value,
                self.setting("username") or _ask("user name"),
                self.setting("password") or _ask("password", hide_input=True),
                ca_file=self.setting("ca_file"),
                thumbprint=self.setting("thumbprint"),
                insecure=insecure,
                planning=self._is_planning,
            )
        self._closers.append(session.close)
        session.inventory.leave_machines_out()
        return session

    @cached_property
    def images(self) -> DirectoryImageStore:
        """The image store: VMOPS_IMAGES, or "images" in the state folder."""
        from vmops.images.directory_store import DirectoryImageStore  # noqa: PLC0415

        own = self.setting("images")
        folder = expanded(own, "VMOPS_IMAGES") if own else self.state_dir / "images"
        if self._is_planning:
            from vmops.images.planning_store import PlanningImageStore  # noqa: PLC0415

            return PlanningImageStore(folder, self.plan)
        return DirectoryImageStore(folder)

    @cached_property
    def observer(self) -> Any:
        """What shows an operation's progress on stderr, or makes its plan."""
        if self._is_planning:
            return self.plan
        from vmops.cli.progress_view import make_observer  # noqa: PLC0415

        observer = make_observer(str(self.options.get("progress") or "auto"))
        self._closers.append(observer.close)
        return observer

    def default_network(self) -> str | None:
        """The port group of an instance that names none: the one set, or the only one that is.

        The lab's are known: its network with a way out.
        """
        if own := self.setting("network"):
            return _last_name(own)
        there = [n.name for n in self.session.inventory.networks() if not n.is_uplink]
        if self.uses_lab:
            from vmops.cli.lab_endpoint import NAT_NETWORKS  # noqa: PLC0415

            return next((name for name in NAT_NETWORKS if name in there), None)
        return there[0] if len(there) == 1 else None

    def engine(self, **settings: Any) -> VMwareVMOps:
        """The engine on the session; ``settings`` are those of `EngineSettings`."""
        from vmops.ops.engine.settings import EngineSettings  # noqa: PLC0415
        from vmops.ops.vmops.vmops import VMwareVMOps  # noqa: PLC0415

        return VMwareVMOps(
            self.session,
            cluster_name=_last_name(self.setting("cluster")),
            images=self.images,
            config=self.engine_settings(EngineSettings, **settings),
            observe=self.observer,
        )

    def engine_settings(self, kind: type[Any], **settings: Any) -> Any:
        """The engine's settings with those of the environment filled in."""
        given = {name: value for name, value in settings.items() if value is not None}
        given.setdefault("datastore", _last_name(self.setting("datastore")))
        return kind(cache_lock_dir=self.state_dir / "locks", **given)

    def close(self) -> None:
        """Log out and stop drawing, last-first."""
        while self._closers:
            self._closers.pop()()


def _last_name(path: str | None) -> str | None:
    """The name at the end of an inventory path, which govc's users may have set."""
    return path.rstrip("/").rsplit("/", 1)[-1] if path else None


def _ask(what: str, *, hide_input: bool = False) -> str:
    """Ask a person.

    Raises:
        InvalidLogin: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise InvalidLogin(f"No {what} to log in with, and no terminal to ask on.")
    return str(click.prompt(what.capitalize(), hide_input=hide_input, err=True))


def set_up_logging(verbose: int) -> None:
    """Errors always; steps with -v; every call to the server with -vv."""
    level = {0: logging.ERROR, 1: logging.INFO}.get(verbose, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(VisibleFormatter(form, sys.stderr))
    root = logging.getLogger("vmops")
    root.handlers[:] = [handler]
    root.setLevel(level)


pass_context = click.make_pass_decorator(CommandContext)
