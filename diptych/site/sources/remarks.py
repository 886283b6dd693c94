"""Why a statement stands alone: rules that read the statement, and a short table for the rest.

A rule gives a remark only where the statement itself shows that it is true.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from diptych.site.sources.lone import LONE
from diptych.site.sources.page import SideName, Statement
from diptych.site.sources.statements import Branch, Function
from diptych.site.sources.vocabulary import forward_part, is_vjp_name, words_of

AUTOGRAD = "autograd does this on the right"
DEVICE_WORDS = {"dtype", "device", "factory_kwargs"}


def remark(
    statement: Statement, side: SideName, stem: str, name: str, function: Sequence[Statement]
) -> str:
    """The remark for a statement without a twin, "" if no rule holds.

    `function` has all statements of its side of the definition.
    """
    if statement.kind == "vjp":
        return AUTOGRAD
    node = statement.node
    rules = LEFT if side == "left" else RIGHT
    for text, holds in rules:
        if holds(node):
            return text
    if side == "left" and statement in backward_only(function):
        return "kept for the vjp: " + AUTOGRAD
    return LONE.get((side, stem, name, _source(node)), "")


def _source(node: ast.AST) -> str:
    """The text by which the table names a statement: its first line, normalised."""
    return node.word if isinstance(node, Branch) else ast.unparse(node).partition("\n")[0]


def _is_super_init(node: ast.AST) -> bool:
    return _source(node) == "super().__init__()"


def _is_no_grad(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and _source(node).startswith("with torch.no_grad()")


def _makes_factory_kwargs(node: ast.AST) -> bool:
    """Assigns the dtype and the device of what the constructor makes."""
    targets = words_of(Statement(node, 0, 0)).targets
    return bool(targets) and set(targets) <= DEVICE_WORDS and "device" in _source(node)


def _asserts(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert)


def _compares_devices(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "device" in _source(node)


def _reads_is_compiling(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _source(node) == "if torch.compiler.is_compiling():"


def _declares(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and node.value is None


def _imports(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


Rule = tuple[str, Callable[[ast.AST], bool]]
LEFT: tuple[Rule, ...] = (("only the left panel needs it", _imports),)
RIGHT: tuple[Rule, ...] = (
    ("nn.Module's own constructor, which the left panel's Module does without", _is_super_init),
    ("autograd must not record this; on the left nothing is recorded", _is_no_grad),
    ("the dtype and the device of all that is made here", _makes_factory_kwargs),
    ("for the type checker", _asserts),
    ("for the type checker", _declares),
    ("only the right panel has devices", _compares_devices),
    ("only the right panel is compiled, and a compiled graph cannot check values", _reads_is_compiling),
    ("only the right panel needs it", _imports),
)


def backward_only(function: Sequence[Statement]) -> list[Statement]:
    """The statements whose values are read in vjps alone, or in other such statements."""
    result: list[Statement] = []
    while True:
        rest = [s for s in function if s not in result and s.kind != "vjp"]
        more = [s for s in rest if _serves_vjps(s, [r for r in rest if r is not s], function)]
        if not more:
            return result
        result += more


def _serves_vjps(
    statement: Statement, others: Sequence[Statement], function: Sequence[Statement]
) -> bool:
    stored = _stored(statement.node)
    if not stored:
        return False
    if any(stored & _forward_reads(other) for other in others):
        return False
    everywhere = set().union(*(_reads(s.node) for s in function if s is not statement))
    return all(is_vjp_name(n) or n in everywhere for n in stored)


def _stored(node: ast.AST) -> set[str]:
    """The local names that a statement assigns, or whose method it calls (`vjps.append`)."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            return {function.value.id} if is_vjp_name(function.value.id) else set()
        return set()
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return set()
    places = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [n for place in places for n in ast.walk(place)]
    if any(isinstance(n, ast.Attribute) for n in names):
        return set()
    return {n.id for n in names if isinstance(n, ast.Name)}


def _reads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _forward_reads(statement: Statement) -> set[str]:
    if isinstance(statement.node, Function | Branch):
        return set()
    parts = forward_part(statement.node)
    return {n.id for part in parts for n in ast.walk(part) if isinstance(n, ast.Name)}
