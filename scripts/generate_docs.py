"""Write docs/operations.md from the docstrings and steps of the engine's operations.

Without arguments the page is written; with ``--check`` it is only compared, and the exit code is 1
if it is out of date.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "operations.md"
PACKAGES = ("vmops.ops", "vmops.images")

HEAD = """\
# Operations

This page is made from the code by `scripts/generate_docs.py`; a test compares the two.

Every operation is a method of `VMwareVMOps`.
An operation with steps does all of them, or what was done is undone last-first, also on Ctrl-C.
A step that is not marked as undone leaves nothing that the undo of an earlier step does not remove.
An undo that fails is noted on the error that is raised, and `vmops audit --fix` finds what is left.
One whose work another took over while it stood still raises `LeaseLost`, and leaves all as it is.
Besides the errors named here every method may raise those of `Unavailable` and `Refused`.
"""

_NUMBERED = re.compile(r"^(\d+(?:\.\d+)*)\.\s+(.*)$")
# A function of the engine by its room, its file and its name.
_SEE = re.compile(r"[Ss]ee\s+`(?:vmops\.ops\.)?(\w+\.\w+\.[a-z]\w+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDoc:
    """What is known of a step from its function."""

    title: str
    module: str
    does: str
    is_undone: bool


def main() -> int:
    """Write or compare the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is out of date: run python scripts/generate_docs.py", file=sys.stderr)
    return 1


def page() -> str:
    """The whole page."""
    from vmops import VMwareVMOps  # noqa: PLC0415

    steps = list(all_steps())
    methods = [
        (name, method)
        for kind in VMwareVMOps.__mro__
        for name, method in vars(kind).items()
        if not name.startswith("_") and inspect.isfunction(method)
    ]
    parts = [HEAD, "\n".join(f"- [`{name}`](#{name})" for name, _ in methods) + "\n"]
    parts += [section(name, method, steps) for name, method in methods]
    return "\n".join(parts)


def section(name: str, method: Callable[..., object], steps: list[StepDoc]) -> str:
    """One method: how it is called, what it does, its steps, its errors."""
    doc = inspect.getdoc(method) or ""
    seen = _SEE.search(doc)
    inner = inspect.getdoc(_look_up(seen[1])) or "" if seen else ""
    own = _SEE.sub("", doc).replace("; for the steps.", ".").replace(" for the steps", "")
    outer, blocks = _paragraphs(own), _paragraphs(inner)
    if outer and blocks and _prose(blocks[0]).startswith(_prose(outer[0]).rstrip(".")):
        del outer[0]  # the operation's first line says it, too, and more
    blocks = [block for block in [*outer, *blocks] if block.strip(" ;.")]
    texts = [_prose(block) for block in blocks if not _is_list(block) and not _is_raises(block)]
    lines = [f"## {name}", "", "```python", signature(name, method), "```", ""]
    for text in texts:
        lines += [text, ""]
    home = f"vmops.ops.{seen[1].rpartition('.')[0]}" if seen else ""
    # Two operations may have a step of one name: the operation's own room and file come last and
    # win.
    room = home.rpartition(".")[0]
    ranked = sorted(steps, key=lambda one: (one.module.startswith(f"{room}."), one.module == home))
    known = {one.title: one for one in ranked}
    for title, count in Counter((one.module, one.title) for one in steps).items():
        if count > 1 and known[title[1]].module == title[0]:
            known[title[1]] = dataclasses.replace(known[title[1]], does="")
    for block in blocks:
        if _is_list(block):
            lines += [*_table(block, known), ""]
    for block in blocks:
        if _is_raises(block):
            lines += ["Errors:", "", *_errors(block), ""]
    return "\n".join(lines)


def signature(name: str, method: Callable[..., object]) -> str:
    """The call, with its defaults and without its types."""
    found = inspect.signature(method)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in list(found.parameters.values())[1:]
    ]
    plain = found.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{name}{plain}"


def _look_up(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"vmops.ops.{module}"), name)


def _paragraphs(doc: str) -> list[str]:
    """Blocks between blank lines; a list of steps may have any indentation."""
    return [block for block in doc.split("\n\n") if block.strip()]


def _is_list(block: str) -> bool:
    return bool(_NUMBERED.match(block.strip().partition("\n")[0]))


def _is_raises(block: str) -> bool:
    return block.startswith("Raises:")


def _prose(block: str) -> str:
    """One sentence a line, code in Markdown's own quotes."""
    text = " ".join(block.replace("``", "`").split())
    text = re.sub(r"\s*;\s*\.?$", ".", text)
    return re.sub(r"(?<=[a-z`)\]]\.) (?=[A-Z`])", "\n", text)


def _table(block: str, steps: dict[str, StepDoc]) -> Iterator[str]:
    """The steps, and which are taken back; lines without a number say when those below them run."""
    yield "| step | | more of it | is undone |"
    yield "|---|---|---|---|"
    for line in block.splitlines():
        numbered = _NUMBERED.match(line.strip())
        if numbered is None:
            yield f"| | *{line.strip().rstrip(':')}* | | |"
            continue
        known = steps.get(numbered[2])
        does = known.does.replace("``", "`") if known else ""
        undone = "yes" if known and known.is_undone else ""
        yield f"| {numbered[1]} | {numbered[2]} | {does} | {undone} |"


def _errors(block: str) -> Iterator[str]:
    body = textwrap.dedent("\n".join(block.splitlines()[1:]))
    for entry in re.split(r"\n(?=\S)", body):
        name, _, text = entry.partition(":")
        yield f"- `{name.strip()}`: {' '.join(text.split())}"


def all_steps() -> Iterator[StepDoc]:
    """Every step of the engine."""
    for package in PACKAGES:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            module = importlib.import_module(found.name)
            for value in vars(module).values():
                title = getattr(value, "step_title", None)
                if isinstance(title, str) and inspect.unwrap(value).__module__ == found.name:
                    yield _step(title, found.name, inspect.unwrap(value))


def _step(title: str, module: str, function: Callable[..., object]) -> StepDoc:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)  # noqa: S101 - what a decorated generator is
    does = (inspect.getdoc(function) or "").split("\n\n")[0]
    return StepDoc(
        title=title, module=module, does=" ".join(does.split()), is_undone=_is_undone(tree.body)
    )


def _is_undone(body: list[ast.stmt]) -> bool:
    """Whether there is code behind the ``yield``."""
    at = next(
        n for n, one in enumerate(body) if any(isinstance(x, ast.Yield) for x in ast.walk(one))
    )
    if at + 1 < len(body):
        return True
    inner = body[at]
    if isinstance(inner, ast.Try):
        return bool(inner.finalbody) or _is_undone(inner.body)
    return isinstance(inner, ast.With) and _is_undone(inner.body)


if __name__ == "__main__":
    sys.exit(main())
