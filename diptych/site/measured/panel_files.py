"""Where the statements of a panel file stand: by function and line."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from diptych.site.sources.page import SideName

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
LONGEST = 20
"""Letters of a name such as a[t, ::2] that are shown; a longer index is left out."""
Block = ast.If | ast.For | ast.While | ast.With | ast.Try


@dataclass(frozen=True)
class Target:
    """A name, attribute or element that a statement assigns."""

    name: str
    """as the page shows it: "h", "weight.grad", "a[t]" """
    node: ast.expr
    is_simple: bool
    """True for a local variable, whose value needs no evaluation"""

    @property
    def key(self) -> str:
        """The name under which both panels join: a[t] of the one is a_t of the other."""
        return self.name.replace("[", "_").rstrip("]")


@dataclass(frozen=True)
class Site:
    """A statement of a panel file and what it assigns."""

    line: int
    node: ast.AST
    targets: tuple[Target, ...] = ()
    returned: ast.expr | None = None
    """the expression of a return statement, or the body of a lambda"""


@dataclass(frozen=True)
class FunctionSites:
    """The statements of one function by line, nested functions apart."""

    definition: str
    """the page's name of the definition that it stands in: "LSTM.features" """
    node: Function
    nested: bool
    """True for a function or lambda inside another function, such as a vjp"""
    sites: dict[int, Site] = field(repr=False)

    @property
    def loop_variable(self) -> str:
        """The variable of the function's loop over a range, such as t; "" without a single one."""
        loops = {
            node.target.id
            for node in ast.walk(self.node)
            if isinstance(node, ast.For)
            and isinstance(node.target, ast.Name)
            and any(isinstance(n, ast.Name) and n.id == "range" for n in ast.walk(node.iter))
        }
        return loops.pop() if len(loops) == 1 else ""


@dataclass(frozen=True)
class PanelFile:
    """One file of a panel. `functions` are found by the first line and name of their code."""

    stem: str
    side: SideName
    functions: dict[tuple[int, str], FunctionSites] = field(repr=False)


@functools.cache
def read_panel_file(path: Path, stem: str, side: SideName) -> PanelFile:
    """Parse a panel file and list the statements of its functions."""
    tree = ast.parse(path.read_text())
    return PanelFile(stem, side, dict(_functions(tree, "", "")))


def _functions(
    node: ast.AST, prefix: str, inside: str
) -> Iterator[tuple[tuple[int, str], FunctionSites]]:
    """All functions below a node; `inside` names the definition that holds it, if any."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.", inside)
        elif isinstance(child, Function):
            named = not isinstance(child, ast.Lambda)
            name = child.name if named else "<lambda>"  # type: ignore[union-attr]
            definition = inside or f"{prefix}{name}"
            decorators = [] if isinstance(child, ast.Lambda) else child.decorator_list
            first = min([child.lineno, *(d.lineno for d in decorators)])
            yield (first, name), FunctionSites(definition, child, bool(inside), _sites(child))
            yield from _functions(child, prefix, definition)
        else:
            yield from _functions(child, prefix, inside)


def _sites(function: Function) -> dict[int, Site]:
    if isinstance(function, ast.Lambda):
        site = Site(function.body.lineno, function, (), function.body)
        return dict.fromkeys(_lines(function), site)
    return {line: site for node in _statements(function.body) for line, site in _lines_of(node)}


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body with those of its blocks; nested functions stay closed."""
    for node in body:
        yield node
        if isinstance(node, Block):
            yield from _statements(node.body)
            yield from _statements(getattr(node, "orelse", []))
            yield from _statements(getattr(node, "finalbody", []))


def _lines_of(node: ast.stmt) -> Iterator[tuple[int, Site]]:
    """(line, site) of one statement; of a block, the lines of its head."""
    head = range(node.lineno, node.body[0].lineno) if isinstance(node, Block) else _lines(node)
    returned = node.value if isinstance(node, ast.Return) else None
    site = Site(node.lineno, node, tuple(_targets(node)), returned)
    lines = [*head] or [node.lineno]  # a block in one line
    return ((line, site) for line in lines)


def _lines(node: ast.stmt | ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _targets(node: ast.stmt) -> Iterator[Target]:
    if isinstance(node, ast.Assign):
        places: list[ast.expr] = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For):
        places = [node.target]
    elif isinstance(node, ast.With):
        places = [item.optional_vars for item in node.items if item.optional_vars is not None]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        # np.maximum(..., out=y), and add_product(weight.grad, ...)
        places = [k.value for k in node.value.keywords if k.arg == "out"]
        places += [a for a in node.value.args[:1] if _is_gradient(a)]
    else:
        places = []
    for place in places:
        yield from _target(place)


def _target(place: ast.expr) -> Iterator[Target]:
    if isinstance(place, ast.Tuple | ast.List):
        for item in place.elts:
            yield from _target(item)
    elif isinstance(place, ast.Starred):
        yield from _target(place.value)
    elif isinstance(place, ast.Name):
        if place.id != "_":
            yield Target(place.id, place, True)
    elif isinstance(place, ast.Attribute) or _is_pure(place):
        name = ast.unparse(place).removeprefix("self.")
        if len(name) > LONGEST:
            name = f"{name.partition('[')[0]}[…]"
        yield Target(name, place, False)


def _is_gradient(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "grad"


def _is_pure(node: ast.expr) -> bool:
    """True for an element such as a[t + 1] or out[...], which can be read again."""
    kinds = ast.Subscript | ast.Name | ast.Constant | ast.BinOp | ast.Slice | ast.Tuple
    kinds |= ast.Attribute | ast.operator | ast.expr_context | ast.UnaryOp | ast.unaryop
    return all(isinstance(child, kinds) for child in ast.walk(node))


@functools.cache
def filled_names(function: ast.AST) -> frozenset[str]:
    """Local arrays that a function fills element by element: as a whole they mean nothing yet."""
    return frozenset(
        target.value.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name)
    )


@functools.cache
def allocates(statement: ast.AST) -> bool:
    """True for a statement that makes an array without values, such as np.empty."""
    calls = (node for node in ast.walk(statement) if isinstance(node, ast.Attribute))
    return any(node.attr in ("empty", "empty_like") for node in calls)


def uses(function: ast.AST, name: str) -> int:
    """The number of times that a function reads a local variable outside its nested functions."""

    def reads(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.Lambda):
                yield child
                yield from reads(child)

    return sum(
        isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)
        for n in reads(function)
    )
