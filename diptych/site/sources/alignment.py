"""Align the statements of two functions: monotone, of largest likeness, with folds."""

from __future__ import annotations

import ast

from diptych.site.sources.page import Statement

IGNORED = {"np", "torch", "self", "Array", "Tensor", "data", "weight", "nn", "to", "vjp"}
Run = tuple[Statement, ...]


def names(node: ast.AST) -> set[str]:
    """The identifiers of a statement that can have a twin."""
    if isinstance(node, ast.If | ast.While):
        node = node.test
    result = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    result |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return {n for n in result if n not in IGNORED and not n.endswith("_vjp")}


def target(node: ast.AST) -> str | None:
    """The first name or attribute that a statement assigns, vjps apart."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        place = node.targets[0] if isinstance(node, ast.Assign) else node.target
        for n in ast.walk(place):
            if isinstance(n, ast.Attribute):
                return n.attr
            if isinstance(n, ast.Name) and not n.id.endswith("_vjp") and n.id != "_":
                return n.id
    return None


def likeness(left: Run, right: Run) -> float:
    """Shared names, targets and kinds of two runs of statements, 0 for runs that are no twins."""
    if any(s.kind == "vjp" for s in left + right):
        return 0
    a = set().union(*(names(s.node) for s in left))
    b = set().union(*(names(s.node) for s in right))
    if len(left) > 1 or len(right) > 1:  # names on the way are the fold's own
        local = {target(s.node) for s in (left if len(left) > 1 else right)}
        a, b = a - local, b - local  # type: ignore[operator]
    shared = len(a & b) / max(1, len(a | b))
    t, u = target(left[-1].node), target(right[-1].node)
    same_target = bool(t) and t == u
    same_kind = type(left[-1].node) is type(right[-1].node) and t is None
    if len(left) + len(right) > 2 and not (shared >= 0.6 and (same_kind or same_target)):
        return 0
    score = shared + 0.5 * same_target + 0.3 * same_kind
    return score if score >= 0.35 else 0


def align(left: list[Statement], right: list[Statement]) -> list[tuple[Run, Run]]:
    """Pairs of runs in order; a run of up to five statements may stand beside one."""
    A, B = len(left), len(right)
    spans = [(1, 1), *((p, 1) for p in range(2, 6)), *((1, q) for q in range(2, 4))]
    best = [[(0.0, (0, 0))] * (B + 1) for _ in range(A + 1)]
    for i in range(A, -1, -1):
        for j in range(B, -1, -1):
            options = [(best[i + 1][j][0], (1, 0))] if i < A else []
            options += [(best[i][j + 1][0], (0, 1))] if j < B else []
            for p, q in spans:
                if i + p <= A and j + q <= B:
                    score = likeness(tuple(left[i : i + p]), tuple(right[j : j + q]))
                    if score:
                        options.append((best[i + p][j + q][0] + score * (p + q) / 2, (p, q)))
            best[i][j] = max(options, default=(0.0, (0, 0)))
    i = j = 0
    pairs = []
    while i < A or j < B:
        p, q = best[i][j][1]
        pairs.append((tuple(left[i : i + p]), tuple(right[j : j + q])))
        i, j = i + p, j + q
    return pairs
