"""Which programs of the machine the code starts or looks for, as far as its text tells."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STARTS = {
    "asyncio.create_subprocess_exec",
    "os.posix_spawn",
    "shutil.which",
    "subprocess.Popen",
    "subprocess.check_output",
    "subprocess.run",
}
_DEEPEST = 8
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class Start(NamedTuple):
    """A place where something is started or looked for.

    ``programs`` is None where the text does not tell which: the caller decides.
    """

    place: str
    programs: frozenset[str] | None


class Module:
    """The syntax tree of a file, and what its names can stand for."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.texts: set[str] = set()
        self._outer: dict[ast.AST, ast.AST] = {}
        self._nodes: defaultdict[ast.AST, list[ast.AST]] = defaultdict(list)
        self._calls: list[ast.Call] = []
        tree = ast.parse(path.read_text())
        self._read(tree, tree)

    def _read(self, node: ast.AST, scope: ast.AST) -> None:
        self._outer[node] = scope
        self._nodes[scope].append(node)
        if isinstance(node, ast.Call):
            self._calls.append(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.texts.add(node.value)
        inner = node if isinstance(node, _FUNCTION) else scope
        for child in ast.iter_child_nodes(node):
            self._read(child, inner)

    def starts(self) -> Iterator[Start]:
        """Every call of `STARTS`, with its program."""
        for node in self._calls:
            if node.args and ast.unparse(node.func) in STARTS:
                command = node.args[0]
                first = command.elts[0] if isinstance(command, (ast.List, ast.Tuple)) else command
                place = f"{self.name}: {ast.unparse(first)}"
                yield Start(place, self._programs(node.args[0], 0))

    def _programs(self, node: ast.expr, depth: int) -> frozenset[str] | None:
        """What the first word of a command can be; None if that cannot be read."""
        match node:
            case ast.Constant(value=str(text)):
                return frozenset({text})
            case ast.Attribute(value=ast.Name(id="sys"), attr="executable"):
                return frozenset()
        sources = [self._programs(one, depth + 1) for one in self._first(node)]
        known = [each for each in sources if each is not None]
        if depth > _DEEPEST or not known or len(known) < len(sources):
            return None
        return frozenset().union(*known)

    def _first(self, node: ast.expr) -> list[ast.expr]:
        """Where the first word of a command comes from."""
        match node:
            case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]):
                return [first]
            case ast.Starred(value=first) | ast.BinOp(left=first):
                return [first]
            case ast.Call(args=[first, *_]) if ast.unparse(node.func) in {"str", "list", *STARTS}:
                return [first]
            case ast.Name(id=name):
                return self._values(name, self._outer[node])
        return []

    def _values(self, name: str, scope: ast.AST) -> list[ast.expr]:
        """What a name is bound to: in the function where it is used, else around it."""
        bound = [value for node in self._nodes[scope] for value in _bindings(name, node)]
        if isinstance(scope, _FUNCTION):
            bound += self._passed(name, scope)
        outer = self._outer[scope]
        return bound if bound or outer is scope else self._values(name, outer)

    def _passed(
        self, name: str, function: ast.FunctionDef | ast.AsyncFunctionDef
    ) -> list[ast.expr]:
        """What calls in the same file pass for a parameter."""
        parameters = [each.arg for each in function.args.args]
        parameters += [function.args.vararg.arg] if function.args.vararg else []
        if name not in parameters:
            return []
        at = parameters.index(name)
        calls = [
            call
            for call in self._calls
            if isinstance(call.func, ast.Name) and call.func.id == function.name
        ]
        return [value for call in calls for value in call.args[at : at + 1]]


def _bindings(name: str, node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case (
            ast.Assign(targets=[ast.Name(id=target)], value=ast.expr() as value)
            | ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
        ) if target == name:
            yield value
        case (
            ast.For(target=target, iter=ast.Tuple(elts=rows) | ast.List(elts=rows))
            | ast.comprehension(target=target, iter=ast.Tuple(elts=rows) | ast.List(elts=rows))
        ):
            for row in rows:
                yield from _looped(name, target, row)


def _looped(name: str, target: ast.expr, row: ast.expr) -> Iterator[ast.expr]:
    """What a name of a loop's target is in one turn."""
    match target, row:
        case ast.Name(id=each), _ if each == name:
            yield row
        case ast.Tuple(elts=targets), ast.Tuple(elts=values):
            for inner, value in zip(targets, values, strict=False):
                yield from _looped(name, inner, value)
