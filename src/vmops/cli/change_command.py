"""What all verbs that change something have in common: ``--plan``, ``--wait`` and ``-o``.

A verb is a function that takes a `Change` first::

    @click.command()
    @instance_argument
    @changes(until=Until.OFF)
    def stop(change: Change, name: str) -> None:
        found = resolve(change.context, name)
        with change.on(found, "powered off"):
            change.engine().power_off(found.uuid)

With ``--plan`` the verb's code runs all the same, on a session that changes nothing; what it would
tell, wait for and print is left out, and the plan is printed instead.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.context import CommandContext
from vmops.cli.instances import Found, instance_record
from vmops.cli.output import FORMATS, OutputOptions, print_record, print_rows
from vmops.cli.terminal import say
from vmops.cli.waiting import (
    ADDRESS,
    READY,
    TOOLS,
    Before,
    Patience,
    Until,
    look_before,
    wait_until,
)

if TYPE_CHECKING:
    from vmops.ops.vmops.vmops import VMwareVMOps

_STATE_TIMEOUT_S = 300.0

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """Something to be printed at the end; ``plain`` is what stands for it without -o."""

    record: Callable[[], Record]
    plain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Awaited:
    found: Found
    until: Until
    before: Before
    advice: str = ""


class Change:
    """One run of a verb that changes something."""

    def __init__(
        self, context: CommandContext, verb: str, options: Mapping[str, Any], *, many: bool
    ) -> None:
        self.context = context
        self.is_plan = bool(options["plan"])
        self._verb = verb
        self._style: str | None = options["style"]
        self._many = many
        is_waited_for = options.get("wait") or options.get("wait_for")
        self._until: Until | None = options["until"] if is_waited_for else None
        self._patience = _patience(options)
        self._begin = time.monotonic()
        self._awaited: list[_Awaited] = []
        self._shown: list[_Shown] = []
        if self.is_plan:
            context.start_planning()

    @property
    def is_waited_for(self) -> bool:
        """Whether ``--wait`` was said, and there is something to wait for."""
        return self._until is not None and not self.is_plan

    def engine(self, **settings: Any) -> VMwareVMOps:
        """The engine that the verb works with, see `CommandContext.engine`."""
        return self.context.engine(**settings)

    @contextmanager
    def on(
        self,
        found: Found,
        done: str,
        *,
        until: Until | None = None,
        show: Callable[[], Record] | None = None,
    ) -> Iterator[None]:
        """Do something to an instance inside; when that went well say so, and show it at the end.

        ``done`` is said behind its name, "" says nothing. ``until`` is waited for instead of what
        the verb waits for; ``show`` makes what -o prints instead of the instance's record.
        """
        if self.is_plan:
            self.begin_part(found.name)
            yield
            return
        wanted = self._until and (until or self._until)
        before = None
        if wanted not in {None, Until.DONE}:
            before = look_before(self.context, found)
        yield
        if wanted is not None and before is not None:
            self._awaited.append(_Awaited(found=found, until=wanted, before=before))
        if done:
            self.tell(f"{found.name}: {done}")
        self.show(show or (lambda: instance_record(self.context, found)))

    def begin_part(self, name: str) -> None:
        """Let the plan's steps from here on be those of doing it to ``name``."""
        if self.is_plan:
            self.context.plan.begin(f"{self._verb} {name}")

    def wait_for(self, found: Found, before: Before, advice: str = "") -> None:
        """Wait at the end for an instance that was made inside the verb.

        ``advice`` is for who does not want to wait that long.
        """
        if self._until is not None and not self.is_plan:
            self._awaited.append(
                _Awaited(found=found, until=self._until, before=before, advice=advice)
            )

    def show(self, record: Callable[[], Record], plain: str | None = None) -> None:
        """Print this at the end, if -o was said; else ``plain`` if that is given."""
        self._shown.append(_Shown(record=record, plain=plain))

    def tell(self, text: str) -> None:
        """Say something of what was done, on stderr; in a plan nothing was done."""
        if not self.is_plan:
            say(text, err=True)

    def finish(self) -> None:
        """Wait for what was to be waited for, and print what was to be printed."""
        if self.is_plan:
            from vmops.cli.plan_view import print_plan  # noqa: PLC0415

            print_plan(self.context.plan, self._style)
            return
        for one in self._awaited:
            self._wait(one)
        if self._style in {None, "uuid"}:
            for shown in self._shown:
                if shown.plain is not None:
                    say(shown.plain)
            return
        how = OutputOptions(style=str(self._style))
        records = [one.record() for one in self._shown]
        if not self._many and records:
            print_record(records[0], how)
        elif records:
            keys = list(records[0])
            print_rows(records, how, keys=keys, narrow=keys[:7])

    def _wait(self, one: _Awaited) -> None:
        try:
            wait_until(self.context, one.found, one.until, one.before, self._patience)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(f"The instance {one.found.name} runs on. {one.advice}".rstrip())
            raise
        if one.until in {Until.BOOTED, Until.GOES_ON}:
            self.tell(f"{one.found.name}: ready after {time.monotonic() - self._begin:.1f} s")


def changes(
    *, until: Until | None = None, many: bool = False, styles: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb ``--plan``, ``-o`` and, with ``until``, ``--wait``; its function gets a `Change`.

    ``many``: the verb takes several names, so -o prints rows. ``styles`` are more choices of -o.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**options: Any) -> None:
            click_context = click.get_current_context()
            given = {name: options.pop(name) for name in _names(until)}
            verb = click_context.command_path.partition(" ")[2]
            change = Change(click_context.obj, verb, {**given, "until": until}, many=many)
            _run(change, lambda: function(change, **options))

        command: Callable[..., None] = run
        for option in _options(until, styles):
            command = option(command)
        return command

    return decorate


def _run(change: Change, verb: Callable[[], None]) -> None:
    if not change.is_plan:
        verb()
        change.finish()
        return
    from vmops.vsphere.planning.plan import PlanEnds  # noqa: PLC0415

    with suppress(PlanEnds):  # the plan says so itself
        verb()
    change.finish()


def _names(until: Until | None) -> tuple[str, ...]:
    names: tuple[str, ...] = ("plan", "style")
    if until is not None:
        names = (*names, "wait")
    if until in {Until.BOOTED, Until.GOES_ON}:
        names = (*names, "timeout_s")
    if until is Until.BOOTED:
        names = (*names, "wait_for")
    return names


def _options(until: Until | None, styles: tuple[str, ...]) -> list[Callable[..., Any]]:
    """The options, the one that is listed last first."""
    options = [
        click.option(
            "-o", "--output", "style", type=click.Choice((*styles, *FORMATS)),
            help="How to print what it is afterwards; with --plan json or yaml.",
        ),
        click.option(
            "--plan", is_flag=True, help="Show what would be sent, and send nothing.",
        ),
    ]  # fmt: skip
    if until is None:
        return options
    if until in {Until.BOOTED, Until.GOES_ON}:
        options.append(
            click.option(
                "--timeout", "timeout_s", type=click.FloatRange(0), default=300,
                show_default=True, help="Seconds to --wait.",
            )
        )  # fmt: skip
    if until is Until.BOOTED:
        options.append(
            click.option(
                "--wait-for", metavar="REGEX|tools|ip",
                help="--wait until its serial port shows this, its Tools answer, or they have told"
                f" its address. Without it: {READY!r}, or its Tools.",
            )
        )  # fmt: skip
    return [*options, click.option("--wait", is_flag=True, help=until.value)]


def _patience(options: Mapping[str, Any]) -> Patience:
    wanted, timeout_s = options.get("wait_for"), options.get("timeout_s")
    timeout_s = _STATE_TIMEOUT_S if timeout_s is None else timeout_s
    if wanted in {TOOLS, ADDRESS}:
        return Patience(ready=None, timeout_s=timeout_s, needs_address=wanted == ADDRESS)
    return Patience(ready=_pattern(wanted or READY), timeout_s=timeout_s, by_tools=wanted is None)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as wrong:
        raise click.BadParameter(f"--wait-for: {wrong}") from None
