"""Find the statements of the left panel that only its hand-written backward pass needs."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from diptych.site.sources.page import Statement
from diptych.site.sources.statements import Branch, Function
from diptych.site.sources.vocabulary import forward_part, is_backward_name, words_of


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
    if words_of(statement).kind == "backward":
        return True
    stored = _stored(statement.node)
    if not stored or any(stored & _forward_reads(other) for other in others):
        return False
    everywhere = set().union(*(_reads(s.node) for s in function if s is not statement))
    return all(is_backward_name(n) or n in everywhere for n in stored)


def _stored(node: ast.AST) -> set[str]:
    """The local names that a statement assigns."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return set()
    places = node.targets if isinstance(node, ast.Assign) else [node.target]
    nodes = [n for place in places for n in ast.walk(place)]
    if any(isinstance(n, ast.Attribute | ast.Subscript) for n in nodes):
        return set()
    return {n.id for n in nodes if isinstance(n, ast.Name)}


def _reads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _forward_reads(statement: Statement) -> set[str]:
    if isinstance(statement.node, Function | Branch):
        return set()
    return {name for part in forward_part(statement.node) for name in _reads(part)}
